// Command flood sends telemetry events to OBSRUN_SOCKET as fast as they are taken,
// over several connections, and prints how long that took, until the other side had
// all of them and closed, and what it used itself: milliseconds, as JSON.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

func main() {
	events := flag.Int("events", 400_000, "how many, over all connections")
	batch := flag.Int("batch", 64, "events in one write")
	conns := flag.Int("conns", 4, "connections")
	pace := flag.Int("pace", 0, "events a second, each with the time at which it is sent; 0: as fast as they are taken")
	flag.Parse()
	if *pace > 0 {
		if err := paced(os.Getenv("OBSRUN_SOCKET"), *events, *pace); err != nil {
			fmt.Fprintln(os.Stderr, "flood:", err)
			os.Exit(1)
		}
		return
	}
	if err := flood(os.Getenv("OBSRUN_SOCKET"), *events / *conns, *batch, *conns); err != nil {
		fmt.Fprintln(os.Stderr, "flood:", err)
		os.Exit(1)
	}
}

func flood(path string, each, batch, conns int) error {
	// All is made before the clock starts.
	writes := make([][][]byte, conns)
	for c := range writes {
		writes[c] = batches(c, each, batch)
	}
	errs := make([]error, conns)
	begun := time.Now()
	var all sync.WaitGroup
	for c := range conns {
		all.Go(func() { errs[c] = send(path, writes[c]) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]float64{
		"wall": float64(time.Since(begun)) / 1e6, "cpu": float64(cpu()) / 1e6,
	})
}

func send(path string, writes [][]byte) error {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, b := range writes {
		if _, err := conn.Write(b); err != nil {
			return err
		}
	}
	if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, conn)
	return err
}

func paced(path string, events, pace int) error {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	defer conn.Close()
	begun := time.Now()
	for i := range events {
		time.Sleep(time.Until(begun.Add(time.Duration(i) * time.Second / time.Duration(pace))))
		_, err := fmt.Fprintf(conn, `{"event":"span_update","span_id":"agent-0-%d","tokens":%d,"input_tokens":%d,"output_tokens":%d,"tool_uses":7,"message":"reading the package that encodes blobs","ts":%.6f}`+"\n",
			i%10, i*311, i*271, i*40, float64(time.Now().UnixMicro())/1e6)
		if err != nil {
			return err
		}
	}
	return nil
}

// batches are the events of one connection: ten agents that report what they used,
// and every tenth time a tool that they ran.
func batches(c, events, batch int) [][]byte {
	var out [][]byte
	var b []byte
	for i := range events {
		agent := fmt.Sprintf("agent-%d-%d", c, i%10)
		ts := 1775606400 + float64(i)*1e-4
		switch turn := i / 10; {
		case turn == 0:
			b = fmt.Appendf(b, `{"event":"span_start","span_id":"%s","component":"component-%d-%d","kind":"library-analysis","ts":%.6f}`+"\n", agent, c, i, ts)
		case turn%20 == 1:
			b = fmt.Appendf(b, `{"event":"span_start","span_id":"%s-tool-%06d","parent":"%s","name":"Read","kind":"tool","attrs":{"arguments":212},"ts":%.6f}`+"\n", agent, turn, agent, ts)
		case turn%20 == 2:
			b = fmt.Appendf(b, `{"event":"span_end","span_id":"%s-tool-%06d","status":"ok","duration_ms":12.5,"attrs":{"result_bytes":4000},"ts":%.6f}`+"\n", agent, turn-1, ts)
		default:
			b = fmt.Appendf(b, `{"event":"span_update","span_id":"%s","tokens":%d,"input_tokens":%d,"output_tokens":%d,"tool_uses":%d,"message":"reading the package that encodes blobs","ts":%.6f}`+"\n",
				agent, turn*311, turn*271, turn*40, turn/20, ts)
		}
		if (i+1)%batch == 0 || i+1 == events {
			out = append(out, b)
			b = nil
		}
	}
	return out
}

func cpu() time.Duration {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
