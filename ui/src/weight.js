// How much of a model's context a tool call is likely to take, as a number from 0
// to 10. Pure. It is an estimate for finding the calls worth a look, no measurement:
// a base by what the tool does, times a factor by how much came back.

const LINE_BYTES = 80; // characters that count as a line of output

// What a program is expected to bring back.
const PROGRAMS = new Map(Object.entries({
  "find tree du rg": 9, // whole trees
  "cat tac nl bat less more xxd strings": 8, // whole files
  "make go cargo npm yarn pnpm npx pytest mvn gradle docker terraform kubectl": 7, // builds and tests
  "curl wget psql mysql sqlite3 jq awk sed grep python python3 node git": 6,
  "head tail sort uniq cut ls stat file": 4,
  "wc pwd cd echo mkdir rmdir touch mv cp rm chmod true date which sleep test": 2,
}).flatMap(([names, weight]) => names.split(" ").map((name) => [name, weight])));
const LARGER = [[/^git\s+(log|diff|show|blame)\b/, 8], [/^(ls|grep)\s+(-\w*\s+)*-\w*[rR]/, 9]];
const OTHER = 5;

// The names that different trackers have for the same tools.
const READS = new Set(["read", "read_file", "notebookread", "view"]);
const WRITES = new Set(["write", "edit", "multiedit", "notebookedit", "write_file", "edit_file"]);
const SHELLS = new Set(["bash", "shell", "run_command", "execute"]);
const FINDS = new Set(["glob", "grep", "search", "list_files", "search_files"]);

// commandBase looks at each command of a line; of a pipe only what its last one
// says comes back.
function commandBase(line) {
  const weights = line.split(/&&|\|\||[;\n]/).map((part) => {
    const command = part.slice(part.lastIndexOf("|") + 1).trim().replace(/^(\w+=\S*\s+|sudo\s+)+/, "");
    const program = /^[^\s]*/.exec(command)[0].replace(/^.*\//, "");
    return program ? (LARGER.find(([pattern]) => pattern.test(command))?.[1] ?? PROGRAMS.get(program) ?? OTHER) : 0;
  });
  return Math.max(...weights) || OTHER;
}

function base(tool, input) {
  const name = tool.toLowerCase();
  if (SHELLS.has(name)) {
    return typeof input.command === "string" ? commandBase(input.command.slice(0, 2000)) : OTHER;
  }
  if (READS.has(name)) {
    if (!(input.limit > 0)) return 8; // up to the whole file
    return input.limit <= 200 ? 4 : input.limit <= 1000 ? 6 : 9;
  }
  if (WRITES.has(name)) return 3;
  if (FINDS.has(name)) return /\*\*|^\.?\*$/.test(input.pattern ?? "") || input.output_mode === "content" ? 8 : 6;
  return OTHER;
}

// weightOf gives the weight of a call: size is its output in bytes, unknown where
// it is no number.
export function weightOf(tool, input, size) {
  const lines = size / LINE_BYTES;
  const factor = !Number.isFinite(lines) ? 1.5 : lines <= 200 ? 1 : lines <= 800 ? 1.5 : 2;
  return Math.min(10, base(tool, input ?? {}) * factor);
}

// The classes of weights, the heaviest first: [least weight, name].
export const CLASSES = [[9, "critical"], [6, "heavy"], [3, "moderate"], [0, "negligible"]];

export const classOf = (weight) => CLASSES.find(([least]) => weight >= least)?.[1] ?? "negligible";
