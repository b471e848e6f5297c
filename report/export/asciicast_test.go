package export

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
)

func TestAsciicast(t *testing.T) {
	r := recorded(t, "troubled")
	assert.Equal(t, cast, string(written(t, "asciicast", r)))

	for name, c := range map[string]struct{ text, want string }{
		"torn":        {cast + `[0.7, "o", "ha`, cast},
		"long line":   {cast + `[0.7, "o", "` + string(bytes.Repeat([]byte("x"), 1<<20)) + "\"]\n", cast + `[0.7, "o", "` + string(bytes.Repeat([]byte("x"), 1<<20)) + "\"]\n"},
		"header only": {`{"version": 2}` + "\n", `{"version": 2}` + "\n"},
	} {
		r.Dir = withCast(t, c.text)
		assert.Equal(t, c.want, string(written(t, "asciicast", r)), name)
	}

	for _, text := range []string{"", `{"version": 2`} {
		r.Dir = withCast(t, text)
		assert.ErrorContains(t, Asciicast(&bytes.Buffer{}, r), "nothing was recorded")
	}
	other := run.CastPath(withCast(t, cast))
	for _, instead := range []func() error{
		func() error { return os.Symlink(other, run.CastPath(r.Dir)) },
		func() error { return os.Mkdir(run.CastPath(r.Dir), 0o700) },
	} {
		require.NoError(t, os.Remove(run.CastPath(r.Dir)))
		require.NoError(t, instead())
		assert.ErrorContains(t, Asciicast(&bytes.Buffer{}, r), "open recording")
	}
	require.NoError(t, os.Remove(run.CastPath(r.Dir)))
	assert.ErrorContains(t, Asciicast(&bytes.Buffer{}, r), "--record")
}
