package ui

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSnapshotHoldsTheStateAsText(t *testing.T) {
	html, err := Snapshot([]byte(`{ "name": "</script><script>alert(1)</script><!--" }`))
	require.NoError(t, err)
	assert.Equal(t, 1, bytes.Count(html, []byte(`<script type="application/json" id="inlined">{"name":"\u003c/script\u003e\u003cscript\u003ealert(1)\u003c/script\u003e\u003c!--"}</script>`)))
	page, csp, err := Page()
	require.NoError(t, err)
	assert.NotContains(t, string(page), "inlined\">")
	assert.Equal(t, inlined(page, "script"), inlined(html, "script"), "the code is what the policy names")
	assert.Contains(t, csp, "connect-src 'self'")
	assert.Contains(t, string(html), "connect-src 'none'")
	assert.NotContains(t, string(html), "frame-ancestors")

	html, err = Snapshot([]byte(`{}`), File{"tool_calls.jsonl", []byte("</script>\n\xff")}, File{"terminal.cast", []byte("{}")})
	require.NoError(t, err)
	assert.Contains(t, string(html), `<script type="application/json" data-file="tool_calls.jsonl">"\u003c/script\u003e\n\ufffd"</script>`)
	assert.Equal(t, 1, bytes.Count(html, []byte(`data-file="terminal.js"`)), "what shows the recording")

	_, err = Snapshot([]byte(`{`))
	assert.ErrorContains(t, err, "put the state into the dashboard")
}
