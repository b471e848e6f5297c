package serve

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/julienschmidt/httprouter"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/ui"
)

const (
	healthPath = "/healthz"
	// emulatorPath is the terminal emulator, which the page loads when it is opened.
	emulatorPath = "/terminal.js"
)

// view is one run as it is shown: its state, its files and the page. It knows
// nothing of addresses and tokens.
type view struct {
	dir      string
	feed     *run.Feed
	last     func() (any, error)
	page     func() (html []byte, csp string, err error)
	pulse    *pulse
	tail     tail
	circle   circle
	audience audience
	fault    func(error)
	broken   sync.Once
}

func newView(cfg Config, fault func(error)) *view {
	v := &view{dir: cfg.Dir, feed: cfg.Feed, last: cfg.Last, page: cfg.Page, pulse: newPulse(cfg.Feed), fault: fault}
	v.circle.view = v
	return v
}

// routes answers exact paths only: nothing is redirected, so no path can be made
// to lead elsewhere, and there is no pattern that a path could be made to fit.
func (v *view) routes(further []Route) http.Handler {
	router := newRouter()
	read(router, "/", v.servePage)
	read(router, "/events", v.serveEvents)
	read(router, "/state", v.serveState)
	read(router, "/samples", v.serveSamples)
	read(router, emulatorPath, v.serveEmulator)
	read(router, filesPath, v.listFiles)
	for _, file := range files {
		read(router, "/"+file.name, v.serveFile(file))
	}
	read(router, healthPath, serveHealth)
	for _, route := range further {
		router.Handler(route.Method, route.Path, route.Handler)
	}
	return router
}

func newRouter() *httprouter.Router {
	router := &httprouter.Router{HandleMethodNotAllowed: true}
	router.NotFound = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, "There is nothing at this path.")
	})
	router.MethodNotAllowed = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The router always names OPTIONS, which is not answered.
		allow := strings.Split(w.Header().Get("Allow"), ", ")
		kept := allow[:0]
		for _, method := range allow {
			if method != http.MethodOptions {
				kept = append(kept, method)
			}
		}
		w.Header().Set("Allow", strings.Join(kept, ", "))
		refuse(w, http.StatusMethodNotAllowed, "This path does not take "+r.Method+".")
	})
	return router
}

// read answers GET and HEAD.
func read(router *httprouter.Router, path string, handler http.HandlerFunc) {
	router.HandlerFunc(http.MethodGet, path, handler)
	router.HandlerFunc(http.MethodHead, path, handler)
}

func serveHealth(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok"))
}

// serveSamples tells what had been used when: a replay asks for it.
func (v *view) serveSamples(w http.ResponseWriter, _ *http.Request) {
	defer v.audience.ask()()
	answerJSON(w, func() (any, error) {
		var samples run.Samples
		v.feed.View(func(state *run.State) { samples = state.Samples() })
		return samples, nil
	})
}

func (v *view) serveEmulator(w http.ResponseWriter, r *http.Request) {
	defer v.audience.ask()()
	script, err := ui.Emulator()
	if err != nil {
		v.fault(err)
		refuse(w, http.StatusInternalServerError, "The terminal emulator is missing.")
		return
	}
	w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(script)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(script)
	}
}

func (v *view) servePage(w http.ResponseWriter, r *http.Request) {
	html, csp, err := v.page()
	if err != nil {
		v.fault(fmt.Errorf("assemble the dashboard: %w", err))
		refuse(w, http.StatusInternalServerError, "The page can not be assembled.")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", csp)
	w.Header().Set("Content-Length", strconv.Itoa(len(html)))
	if r.Method == http.MethodHead {
		return
	}
	v.audience.awaitStream()
	_, _ = w.Write(html)
}
