// Reads a run's spans by DuckDB from three files, and prints the types of the
// parquet file's columns and the rows of each: node tables.mjs PARQUET JSONL CSV.
import { createRequire } from "node:module";
const { DuckDBInstance } = createRequire(new URL("./.tools/package.json", import.meta.url))("@duckdb/node-api");

const [parquet, jsonl, csv] = process.argv.slice(2).map((path) => `'${path.replaceAll("'", "''")}'`);
const connection = await (await DuckDBInstance.create(":memory:")).connect();
const ask = async (sql) => (await connection.runAndReadAll(sql)).getRowObjectsJson();

// A column of nothing but whole numbers in jsonl is BIGINT by itself.
const times = ["queued_ms", "start_ms", "end_ms"].map((name) => `epoch_ms(${name}) as ${name}`).join(", ");
console.log(
  JSON.stringify({
    types: Object.fromEntries((await ask(`describe from read_parquet(${parquet})`)).map((c) => [c.column_name, c.column_type])),
    parquet: await ask(`select * replace (${times}) from read_parquet(${parquet}) order by seq`),
    jsonl: await ask(`select * replace (cost_usd::double as cost_usd) from read_json(${jsonl}, format = 'newline_delimited', sample_size = -1) order by seq`),
    csv: await ask(`select * from read_csv(${csv}, header = true, all_varchar = true) order by seq::bigint`),
  }),
);
