package report

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// ordered is a JSON object whose keys stand in the order in which they were set.
type ordered struct {
	keys   []string
	values map[string]any
}

func object(pairs ...any) *ordered {
	o := &ordered{values: make(map[string]any)}
	for i := 0; i < len(pairs); i += 2 {
		o.set(pairs[i].(string), pairs[i+1])
	}
	return o
}

func (o *ordered) set(key string, value any) {
	if _, known := o.values[key]; !known {
		o.keys = append(o.keys, key)
	}
	o.values[key] = value
}

func (o *ordered) MarshalJSON() ([]byte, error) {
	return objectJSON(len(o.keys), func(i int) (string, any) { return o.keys[i], o.values[o.keys[i]] })
}

const dialect = "https://json-schema.org/draft/2020-12/schema"

// schemas makes the schema of a Go type. The descriptions are the doc comments of
// the source.
type schemas struct {
	docs map[string]string // "Type.Field" and "Type"
	defs *ordered
}

func newSchemas(t *testing.T) *schemas {
	s := &schemas{docs: make(map[string]string), defs: object()}
	for _, dir := range []string{".", "../instrument/run"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		require.NoError(t, err)
		for _, file := range files {
			tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
			require.NoError(t, err)
			ast.Inspect(tree, s.read)
		}
	}
	return s
}

func (s *schemas) read(n ast.Node) bool {
	decl, ok := n.(*ast.GenDecl)
	if !ok || decl.Tok != token.TYPE {
		return true
	}
	for _, spec := range decl.Specs {
		typ := spec.(*ast.TypeSpec)
		fields, ok := typ.Type.(*ast.StructType)
		s.docs[typ.Name.Name] = sentence(decl.Doc.Text())
		if !ok {
			continue
		}
		for _, field := range fields.Fields.List {
			text := field.Doc.Text()
			if text == "" {
				text = field.Comment.Text()
			}
			for _, name := range field.Names {
				s.docs[typ.Name.Name+"."+name.Name] = sentence(text)
			}
		}
	}
	return false
}

func sentence(text string) string { return strings.Join(strings.Fields(text), " ") }

// of gives the schema of the type; structs are definitions of their own.
func (s *schemas) of(t reflect.Type) *ordered {
	switch {
	case t == reflect.TypeFor[json.RawMessage]():
		return object("description", "any JSON")
	case t == reflect.TypeFor[Phases]():
		return object("type", "object", "additionalProperties", s.of(reflect.TypeFor[Phase]()))
	}
	switch t.Kind() {
	case reflect.String:
		return object("type", "string")
	case reflect.Bool:
		return object("type", "boolean")
	case reflect.Int, reflect.Int64:
		return object("type", "integer")
	case reflect.Float64:
		return object("type", "number")
	case reflect.Slice:
		return object("type", "array", "items", s.of(t.Elem()))
	case reflect.Map:
		return object("type", "object", "additionalProperties", s.of(t.Elem()))
	case reflect.Pointer:
		return object("anyOf", []any{s.of(t.Elem()), object("type", "null")})
	case reflect.Struct:
		if _, known := s.defs.values[t.Name()]; !known {
			s.defs.set(t.Name(), nil) // it may have itself in it
			s.defs.set(t.Name(), s.structure(t))
		}
		return object("$ref", "#/$defs/"+t.Name())
	}
	panic("no schema for " + t.String())
}

func (s *schemas) structure(t reflect.Type) *ordered {
	properties, required := object(), []string{}
	var walk func(reflect.Type)
	walk = func(t reflect.Type) {
		for i := range t.NumField() {
			f := t.Field(i)
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case f.Anonymous && name == "":
				walk(f.Type)
				continue
			case name == "-" || !f.IsExported():
				continue
			}
			schema := s.of(f.Type)
			if doc := s.docs[t.Name()+"."+f.Name]; doc != "" {
				schema.set("description", doc)
			}
			properties.set(name, schema)
			if !strings.Contains(options, "omitempty") {
				required = append(required, name)
			}
		}
	}
	walk(t)
	out := object("type", "object")
	if doc := s.docs[t.Name()]; doc != "" {
		out.set("description", doc)
	}
	out.set("properties", properties)
	out.set("required", required)
	return out
}

func summarySchema(t *testing.T) []byte {
	s := newSchemas(t)
	root := s.structure(reflect.TypeFor[Summary]())
	doc := object("$schema", dialect, "$id", "https://github.com/obsrun/obsrun/blob/main/report/schema/run_summary.schema.json", "title", "run_summary.json")
	for _, key := range root.keys {
		doc.set(key, root.values[key])
	}
	doc.set("$defs", s.defs)
	return documentOf(t, doc)
}

// fieldSchema is that of one field of an event: the names say the types.
func fieldSchema(name string) *ordered {
	switch {
	case name == "status":
		return object("enum", []string{telemetry.StatusOK, telemetry.StatusError, telemetry.StatusCancelled})
	case name == "level":
		return object("enum", []string{"info", "warn", "error"})
	case name == "tokens_scope":
		return object("const", "self")
	case telemetry.IsText(name):
		return object("type", "string")
	case name == "attrs" || name == "evidence":
		return object("type", "object")
	case strings.HasSuffix(name, "tokens") || name == "tool_uses":
		return object("type", "integer", "minimum", 0, "maximum", int64(telemetry.MaxCount))
	}
	return object("type", "number", "minimum", 0)
}

func eventSchema(t *testing.T) []byte {
	fields := object()
	var types []string
	var rules []any
	for _, spec := range telemetry.Specs() {
		types = append(types, string(spec.Type))
		description := spec.Meaning
		if !spec.Client {
			description += "; written by obsrun alone"
		}
		properties := object("event", object("const", string(spec.Type)))
		for _, name := range append(append([]string{}, spec.Required...), spec.Optional...) {
			fields.set(name, fieldSchema(name))
		}
		required := object()
		for _, name := range spec.Required {
			required.set(name, object("minLength", 1))
		}
		rules = append(rules, object("if", object("properties", properties), "then",
			object("description", description, "required", spec.Required, "properties", required)))
	}
	fields.set("ts", object("type", "number", "description", "Unix time in seconds, the producer's clock"))
	fields.set("source", object("type", "string", "description", "the receiver that told it; written by obsrun alone"))
	fields.set("recv_ms", object("type", "integer", "description", "when it arrived, in milliseconds since the run's start, monotonic; written by obsrun alone"))
	properties := object("event", object("type", "string", "minLength", 1, "examples", types,
		"description", "what happened; events of other names are kept and counted"))
	for _, key := range fields.keys {
		properties.set(key, fields.values[key])
	}
	return documentOf(t, object("$schema", dialect,
		"$id", "https://github.com/obsrun/obsrun/blob/main/report/schema/telemetry.schema.json",
		"title", "a line of telemetry.jsonl",
		"description", "One event. Further fields are kept as they are; the numbers among those of a phase event are its counts.",
		"type", "object", "properties", properties, "required", []string{"event"}, "allOf", rules))
}

// The schemas that are checked in are those of the types.
func TestSchemasAreOfTheTypes(t *testing.T) {
	golden(t, "schema/run_summary.schema.json", summarySchema(t))
	golden(t, "schema/telemetry.schema.json", eventSchema(t))
	if !*update {
		require.Equal(t, string(summarySchema(t)), string(SummarySchema), "what is built in is what is checked in")
		require.Equal(t, string(eventSchema(t)), string(EventSchema))
	}
}

func compiled(t *testing.T, text []byte) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource("s.json", doc))
	schema, err := c.Compile("s.json")
	require.NoError(t, err)
	return schema
}

func validate(t *testing.T, schema *jsonschema.Schema, text []byte) error {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err, "%s", text)
	return schema.Validate(value)
}

// Whatever is recorded fits the schemas.
func TestRecordedRunsFitTheSchemas(t *testing.T) {
	events, summaries := compiled(t, EventSchema), compiled(t, SummarySchema)
	for _, dir := range runDirs(t) {
		text, err := os.ReadFile(run.SummaryPath(dir))
		require.NoError(t, err)
		require.NoError(t, validate(t, summaries, text), dir)
		lines, err := os.ReadFile(run.JournalPath(dir))
		require.NoError(t, err)
		for line := range bytes.Lines(lines) {
			if json.Valid(line) { // the last can be torn
				require.NoError(t, validate(t, events, line), "%s: %s", dir, line)
			}
		}
	}
	logs, err := filepath.Glob("../testdata/*/*.events.jsonl")
	require.NoError(t, err)
	require.NotEmpty(t, logs)
	for _, path := range logs {
		lines, err := os.ReadFile(path)
		require.NoError(t, err)
		for line := range bytes.Lines(lines) {
			require.NoError(t, validate(t, events, line), "%s: %s", path, line)
		}
	}
	everything := Summary{
		ExitCode: new(int), Signal: "KILL", Phases: Phases{{Name: "p", Depths: Phases{{Name: "1", Straggler: &Straggler{}, WhatIf: &WhatIf{}}}}},
		Agents: []Agent{{}}, CriticalPath: []Step{{}}, Stalls: []Stall{{Evidence: json.RawMessage(`{"a":1}`)}}, Errors: []Failure{{}}, Warnings: []Warning{{}},
		Models: []Model{{}}, Work: &Work{}, Sources: []run.Capture{{}},
	}
	everything.fill()
	require.NoError(t, validate(t, summaries, documentOf(t, everything)))
}

// A schema that fits everything would say nothing.
func TestSchemasRefuse(t *testing.T) {
	events, summaries := compiled(t, EventSchema), compiled(t, SummarySchema)
	for _, line := range []string{
		`[]`, `{}`, `{"event":""}`, `{"event":"span_start"}`, `{"event":"span_start","span_id":""}`, `{"event":"span_start","span_id":7}`,
		`{"event":"span_end","span_id":"a","status":"good"}`, `{"event":"span_update","span_id":"a","tokens":-1}`,
		`{"event":"span_update","span_id":"a","tokens":1.5}`, `{"event":"span_update","span_id":"a","attrs":5}`, `{"event":"phase"}`,
		`{"event":"log","message":"x","level":"fatal"}`, `{"event":"artifact"}`, `{"event":"log","message":"x","ts":"now"}`,
	} {
		require.Error(t, validate(t, events, []byte(line)), line)
	}
	for _, line := range []string{
		`{"event":"unheard_of","mine":[]}`, `{"event":"phase","name":"x-complete","libraries":9,"wall_ms":68400}`,
		`{"event":"span_end","span_id":"a","status":"ok","duration_ms":14820,"tokens":42100,"tool_uses":31,"ts":1712534415.001}`,
	} {
		require.NoError(t, validate(t, events, []byte(line)), line)
	}
	whole := documentOf(t, loadSummary(t, "../testdata/runs/troubled"))
	for _, cut := range []string{`"run_id"`, `"totals"`, `"critical_path"`} {
		require.Error(t, validate(t, summaries, bytes.Replace(whole, []byte(cut), []byte(`"other"`), 1)), cut)
	}
	require.Error(t, validate(t, summaries, bytes.Replace(whole, []byte(`"agents": [`), []byte(`"agents": [5,`), 1)), "an agent is no number")
}
