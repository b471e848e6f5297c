// Command broadcast serves a stream of events with a library for it, and sends events
// to all that listen. It prints its address, and for each line "COUNT PACE" that it
// reads publishes so many events, so many a second, as fast as it can for 0.
package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	r3labs "github.com/r3labs/sse/v2"
	tmaxmax "github.com/tmaxmax/go-sse"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: broadcast r3labs|tmaxmax")
		os.Exit(125)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, "broadcast:", err)
		os.Exit(1)
	}
	publish, handler := library(os.Args[1])
	go func() { _ = http.Serve(listener, handler) }()
	fmt.Printf("http://%s/events?stream=events\n", listener.Addr())
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var count, pace int
		if _, err := fmt.Sscan(in.Text(), &count, &pace); err != nil {
			return
		}
		begun := time.Now()
		for i := range count {
			if pace > 0 {
				time.Sleep(time.Until(begun.Add(time.Duration(i) * time.Second / time.Duration(pace))))
			}
			publish(fmt.Sprintf(`{"event":"span_update","span_id":"agent-0-%d","tokens":%d,"input_tokens":%d,"output_tokens":%d,"tool_uses":7,"message":"reading the package that encodes blobs","ts":%.6f,"source":"socket","recv_ms":%d}`,
				i%10, i*311, i*271, i*40, float64(time.Now().UnixMicro())/1e6, i))
		}
	}
}

func library(name string) (publish func(string), handler http.Handler) {
	if name == "tmaxmax" {
		server := &tmaxmax.Server{OnSession: func(w http.ResponseWriter, _ *http.Request) ([]string, bool) {
			w.Header().Set("Content-Type", "text/event-stream")
			_ = http.NewResponseController(w).Flush() // or a client does not know that it is connected
			return []string{tmaxmax.DefaultTopic}, true
		}}
		return func(data string) {
			message := new(tmaxmax.Message)
			message.AppendData(data)
			_ = server.Publish(message)
		}, server
	}
	server := r3labs.New()
	server.AutoReplay = false
	server.CreateStream("events")
	return func(data string) { server.Publish("events", &r3labs.Event{Data: []byte(data)}) }, server
}
