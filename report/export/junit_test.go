package export

import (
	"encoding/json"
	"encoding/xml"
	osexec "os/exec"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// suites reads JUnit XML and holds it to what its readers agree on.
func suites(t *testing.T, b []byte) junitSuite {
	t.Helper()
	var all junitSuites
	require.NoError(t, xml.Unmarshal(b, &all))
	require.Len(t, all.Suites, 1)
	suite := all.Suites[0]
	seconds := regexp.MustCompile(`^\d+\.\d{3}$`)
	failures, skipped, names := 0, 0, make(map[string]bool)
	for _, c := range suite.Cases {
		require.NotEmpty(t, c.Class)
		require.NotEmpty(t, c.Name)
		require.Regexp(t, seconds, c.Time)
		require.False(t, c.Failure != nil && c.Skipped != nil, c.Name)
		require.False(t, names[c.Class+"/"+c.Name], "%s stands there twice", c.Name)
		names[c.Class+"/"+c.Name] = true
		if c.Failure != nil {
			require.NotEmpty(t, c.Failure.Message)
			require.NotEmpty(t, c.Failure.Type)
			failures++
		}
		if c.Skipped != nil {
			skipped++
		}
	}
	require.Equal(t, []int{len(suite.Cases), failures, 0, skipped}, []int{suite.Tests, suite.Failures, suite.Errors, suite.Skipped})
	require.Equal(t, []int{suite.Tests, suite.Failures, 0, suite.Skipped}, []int{all.Tests, all.Failures, all.Errors, all.Skipped})
	if suite.Stamp != "" {
		require.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$`, suite.Stamp)
	}
	return suite
}

func TestJUnit(t *testing.T) {
	outcomes := func(name string) map[string]string {
		got := make(map[string]string)
		for _, c := range suites(t, written(t, "junit", recorded(t, name))).Cases {
			switch {
			case c.Failure != nil:
				got[c.Name] = c.Failure.Type
			case c.Skipped != nil:
				got[c.Name] = "skipped"
			default:
				got[c.Name] = "passed"
			}
		}
		return got
	}
	got := outcomes("troubled")
	assert.Len(t, got, 16)
	for name, want := range map[string]string{
		"lib00": "passed", "lib11": "passed", `\u{9b}31m`: "lost", "never": "lost", "the run itself": "error", "<script>alert(1)</script>": "passed",
	} {
		assert.Equal(t, want, got[name], name)
	}
	assert.Equal(t, map[string]string{"a": "lost", "the run itself": "interrupted"}, outcomes("killed"))
	assert.Equal(t, map[string]string{"the run itself": "error"}, outcomes("not-started"))
	assert.Len(t, outcomes("eigenda-planned"), 35)
	assert.NotContains(t, outcomes("eigenda-planned"), "the run itself")
}

func TestJUnitCases(t *testing.T) {
	harmful, texts := hostile(t)
	assert.Len(t, suites(t, written(t, "junit", harmful)).Cases, len(texts))

	r := folded(t,
		`{"event":"span_start","span_id":"r","kind":"run","attrs":{"run_id":"x"},"ts":1000,"source":"obsrun","recv_ms":0}`,
		`{"event":"span_start","span_id":"1","kind":"agent","name":"same","phase":"work","ts":1001,"source":"socket","recv_ms":1000}`,
		`{"event":"span_start","span_id":"2","kind":"agent","name":"same","phase":"work","ts":1001,"source":"socket","recv_ms":1000}`,
		`{"event":"span_start","span_id":"3","kind":"agent","name":"same","ts":1001,"source":"socket","recv_ms":1000}`,
		`{"event":"span_stalled","span_id":"1","idle_ms":120000,"ts":1002,"source":"obsrun","recv_ms":2000}`,
		`{"event":"span_end","span_id":"1","status":"error","error":"gave\nup","ts":1003.25,"source":"socket","recv_ms":3250}`,
		`{"event":"span_stalled","span_id":"2","idle_ms":120000,"ts":1002,"source":"obsrun","recv_ms":2000}`,
		`{"event":"span_end","span_id":"2","ts":1004,"source":"socket","recv_ms":4000}`,
	)
	cases := suites(t, written(t, "junit", r)).Cases
	require.Len(t, cases, 3)
	assert.Equal(t, []string{"same [1]", "same [2]", "same"}, []string{cases[0].Name, cases[1].Name, cases[2].Name})
	assert.Equal(t, &junitFailure{"error", `gave\nup`, `gave\nup`}, cases[0].Failure)
	assert.Equal(t, "2.250", cases[0].Time)
	assert.Nil(t, cases[1].Failure, "it was heard of again")
	assert.Equal(t, []string{"work", "no phase"}, []string{cases[1].Class, cases[2].Class})
}

// Another parser takes it too.
func TestPythonReadsJUnit(t *testing.T) {
	const script = `
import json, sys, xml.etree.ElementTree as tree
root = tree.parse(sys.argv[1]).getroot()
assert root.tag == "testsuites"
suite, = root
order = [child.tag for child in suite]
assert order[0] == "properties" and set(order[1:]) <= {"testcase"}, order
for case in suite.iter("testcase"):
    assert set(case.attrib) == {"classname", "name", "time"}
    assert {child.tag for child in case} <= {"failure", "skipped", "system-out"}
print(json.dumps([len(suite.findall("testcase")), len(list(suite.iter("failure"))), len(list(suite.iter("skipped")))]))
`
	harmful, texts := hostile(t)
	for _, c := range []struct {
		r    Run
		want []int
	}{{recorded(t, "troubled"), []int{16, 4, 1}}, {harmful, []int{len(texts), len(texts), 0}}} {
		var got []int
		require.NoError(t, json.Unmarshal(output(t, "python3", "-c", script, writtenFile(t, "junit", c.r)), &got))
		assert.Equal(t, c.want, got)
	}
	assert.Equal(t, "0.000", junitTime(0))
	assert.Equal(t, strconv.Itoa(312)+".500", junitTime(312500))
}

// libxml2 finds the elements and attributes where readers of the format look for them.
func TestXMLLintReadsJUnit(t *testing.T) {
	harmful, _ := hostile(t)
	runs := []Run{harmful, folded(t, `{"event":"log","message":"x","ts":1000,"source":"obsrun","recv_ms":0}`)}
	for _, name := range []string{"troubled", "eigenda-planned", "killed", "not-started", "empty", "request-lines"} {
		runs = append(runs, recorded(t, name))
	}
	args := []string{"--noout", "--nonet", "--schema", "../../testdata/export/junit.xsd"}
	for _, r := range runs {
		args = append(args, writtenFile(t, "junit", r))
	}
	output(t, append([]string{"xmllint"}, args...)...)
	assert.Error(t, osexec.Command("xmllint", "--noout", "--schema", args[3], "../../testdata/export/junit.xsd").Run(), "the schema refuses what is none")
}
