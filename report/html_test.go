package report

import (
	"bytes"
	"encoding/xml"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The page is whole, has no script and nothing from elsewhere, and what others
// called themselves is text in it.
func TestHTML(t *testing.T) {
	for _, dir := range runDirs(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			s := loadSummary(t, dir)
			var b bytes.Buffer
			require.NoError(t, HTML(&b, s))
			text := b.String()
			for _, never := range []string{"<script", "href=", "src=", "url(", "@import", "\x1b", "ZgotmplZ", "<no value>", " onload"} {
				require.False(t, strings.Contains(text, never), "%q is in the page", never)
			}
			for i := range s.Phases {
				require.Contains(t, text, s.Phases[i].Name)
			}
			// It is well-formed, but for the doctype and the tags that have no end.
			body := text[strings.Index(text, "<body>"):strings.Index(text, "</html>")]
			dec := xml.NewDecoder(strings.NewReader(body))
			dec.Entity = xml.HTMLEntity
			for {
				_, err := dec.Token()
				if err == io.EOF {
					break
				}
				require.NoError(t, err)
			}
		})
	}
}

func TestHTMLGolden(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, HTML(&b, loadSummary(t, "../testdata/runs/troubled")))
	golden(t, filepath.Join("testdata", "troubled.html"), b.Bytes())
	require.Contains(t, b.String(), "&lt;script&gt;alert(1)&lt;/script&gt;")
}

func TestHTMLOfManyAgents(t *testing.T) {
	s := Summary{RunID: "x", Totals: Totals{AgentsSpawned: 1}}
	for range htmlRows + 1000 {
		s.Agents = append(s.Agents, Agent{Name: strings.Repeat("n", 1000), Status: "done"})
	}
	var b bytes.Buffer
	require.NoError(t, HTML(&b, s))
	require.Less(t, b.Len(), 4<<20)
	require.Contains(t, b.String(), "and 1000 more")
}
