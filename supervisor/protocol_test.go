package supervisor

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"reflect"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLaunchSurvivesTheSocket(t *testing.T) {
	for _, want := range []launch{
		{Path: "/bin/true", Args: []string{"true"}, Env: []string{}},
		{Path: "x", Dir: "/tmp", Args: []string{"", "a b", "\n", "\xff"}, Env: []string{"A=1", "A=2", "=x", "novalue", ""},
			Ignored: []syscall.Signal{syscall.SIGHUP, syscall.SIGINT}, Foreground: true, Home: 77},
	} {
		var b bytes.Buffer
		require.NoError(t, want.write(&b))
		for n := range b.Len() {
			_, err := readLaunch(bytes.NewReader(b.Bytes()[:n]))
			require.Error(t, err)
		}
		got, err := readLaunch(&b)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestFrames(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, writeFrame(&b, frame{1, -2, 3}, []byte("payload")))
	f, err := readFrame(&b)
	require.NoError(t, err)
	require.Equal(t, frame{1, -2, 3}, f)
	require.Equal(t, "payload", b.String())
	_, err = readFrame(bytes.NewReader(make([]byte, frameSize-1)))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func FuzzReadLaunch(f *testing.F) {
	var b bytes.Buffer
	l := launch{Path: "/bin/true", Args: []string{"true", "x"}, Env: []string{"A=1"}, Ignored: []syscall.Signal{1}}
	if err := l.write(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := readLaunch(bytes.NewReader(data))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := got.write(&again); err != nil {
			t.Fatal(err)
		}
		if back, err := readLaunch(&again); err != nil || !reflect.DeepEqual(got, back) {
			t.Fatalf("%+v became %+v: %v", got, back, err)
		}
	})
}

// Neither a program of the monitor's name nor odd arguments make a monitor.
func TestMonitorIsNotMetByAccident(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	for _, args := range [][]string{
		{monitorName, "0", "-1", "-1"},
		{monitorName, "x", "y", "z"},
		{monitorName, "3"},
	} {
		cmd := exec.Command(exe)
		cmd.Args = args
		cmd.Env = append(os.Environ(), configVariable+"={}")
		out, _ := cmd.CombinedOutput()
		require.Contains(t, string(out), "obsrun: run", "%q", args)
	}
}
