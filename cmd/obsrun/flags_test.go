package main

import (
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"
)

// The flags that know their names know those that cli would make.
func TestFlagsKnowTheirNames(t *testing.T) {
	for _, f := range runFlags() {
		var plain cli.Flag
		switch f := f.(type) {
		case textFlag:
			plain = f.StringFlag
		case textsFlag:
			plain = f.StringSliceFlag
		case switchFlag:
			plain = f.BoolFlag
		default:
			plain = f
		}
		assert.Equal(t, plain.Names(), f.Names())
		_, isSwitch := f.(switchFlag)
		assert.Equal(t, !isSwitch, takesValue(f), f.Names()[0])
	}
}

func TestSomebodyListens(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		listener, err := net.Listen("tcp", address)
		if address != "127.0.0.1:0" && err != nil {
			continue // a machine without IPv6
		}
		require.NoError(t, err)
		port := listener.Addr().(*net.TCPAddr).Port
		assert.True(t, somebodyListens(port), address)
		require.NoError(t, listener.Close())
		assert.False(t, somebodyListens(port), address)
	}
}
