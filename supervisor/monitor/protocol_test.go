package monitor

import (
	"bytes"
	"io"
	"reflect"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLaunchSurvivesTheSocket(t *testing.T) {
	for _, want := range []Launch{
		{Path: "/bin/true", Args: []string{"true"}, Env: []string{}},
		{Path: "x", Dir: "/tmp", Args: []string{"", "a b", "\n", "\xff"}, Env: []string{"A=1", "A=2", "=x", "novalue", ""},
			Ignored: []syscall.Signal{syscall.SIGHUP, syscall.SIGINT}, Foreground: true, Home: 77},
	} {
		var b bytes.Buffer
		require.NoError(t, want.Write(&b))
		for n := range b.Len() {
			_, err := ReadLaunch(bytes.NewReader(b.Bytes()[:n]))
			require.Error(t, err)
		}
		got, err := ReadLaunch(&b)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestFrames(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, Frame{1, -2, 3}.Write(&b, []byte("payload")))
	f, err := ReadFrame(&b)
	require.NoError(t, err)
	require.Equal(t, Frame{1, -2, 3}, f)
	require.Equal(t, "payload", b.String())
	_, err = ReadFrame(bytes.NewReader(make([]byte, frameSize-1)))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func FuzzReadLaunch(f *testing.F) {
	var b bytes.Buffer
	l := Launch{Path: "/bin/true", Args: []string{"true", "x"}, Env: []string{"A=1"}, Ignored: []syscall.Signal{1}}
	if err := l.Write(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := ReadLaunch(bytes.NewReader(data))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := got.Write(&again); err != nil {
			t.Fatal(err)
		}
		if back, err := ReadLaunch(&again); err != nil || !reflect.DeepEqual(got, back) {
			t.Fatalf("%+v became %+v: %v", got, back, err)
		}
	})
}
