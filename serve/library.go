package serve

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/julienschmidt/httprouter"

	"github.com/obsrun/obsrun/instrument/run"
)

// Library is the runs of a directory, which are served together: a list of them,
// the comparison of two, and the dashboard of each below /runs/ID/.
type Library struct {
	// Runs gives what GET /runs answers, as JSON.
	Runs func() (any, error)
	// Compare gives what GET /compare?a=ID&b=ID answers: what changed from run a to
	// run b.
	Compare func(a, b string) (any, error)
	// Open gives the directory of the run of that id, which comes from outside, and
	// a feed of its state; close ends the feed. It is called from one goroutine at
	// a time for each id.
	Open func(id string) (dir string, feed *run.Feed, close func(), err error)
	// Last gives the run before the one in dir, as in Config. It may be nil, too.
	Last func(dir string, feed *run.Feed) func() (any, error)
	// RunPage is the dashboard of a run: ui.Page. Config.Page is that of the list.
	RunPage func() (html []byte, csp string, err error)
}

// The paths of a library.
const (
	runsPath    = "/runs"
	comparePath = "/compare"
)

// keptOpen is how many runs that nobody looks at are kept ready: to open a run is
// to read its journal.
const keptOpen = 4

// shelf has the runs of a library that somebody looks at or did lately.
type shelf struct {
	library *Library
	fault   func(error)

	mu      sync.Mutex
	volumes map[string]*volume
}

// volume is a run on the shelf.
type volume struct {
	users int
	left  time.Time // when the last user went

	open    sync.Once
	handler http.Handler
	close   func()
	err     error
}

func newShelf(library *Library, fault func(error)) *shelf {
	return &shelf{library: library, fault: fault, volumes: make(map[string]*volume)}
}

// routes answers the list at "/", with what it is made of, and the runs.
func (s *shelf) routes(list *view) http.Handler {
	router := newRouter()
	read(router, "/", list.servePage)
	read(router, healthPath, serveHealth)
	read(router, runsPath, func(w http.ResponseWriter, r *http.Request) { answerJSON(w, s.library.Runs) })
	read(router, comparePath, func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		answerJSON(w, func() (any, error) { return s.library.Compare(query.Get("a"), query.Get("b")) })
	})
	read(router, runsPath+"/:id", func(w http.ResponseWriter, r *http.Request) {
		// The dashboard's own requests are relative to its address.
		id := httprouter.ParamsFromContext(r.Context()).ByName("id")
		if id == "." || id == ".." {
			router.NotFound.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Location", url.PathEscape(id)+"/")
		w.WriteHeader(http.StatusSeeOther)
	})
	read(router, runsPath+"/:id/*path", s.serveRun)
	return router
}

// serveRun answers for one run as its own server would.
func (s *shelf) serveRun(w http.ResponseWriter, r *http.Request) {
	params := httprouter.ParamsFromContext(r.Context())
	id, path := params.ByName("id"), params.ByName("path")
	v := s.take(id)
	leave := func() { s.leave(v) }
	if reply, ok := w.(*reply); ok {
		reply.over = leave
		defer reply.finish()
	} else {
		defer leave()
	}
	if v.err != nil {
		refuse(w, http.StatusNotFound, "This run can not be shown: "+v.err.Error()+".")
		return
	}
	inner := r.Clone(r.Context())
	inner.URL.Path, inner.URL.RawPath = path, ""
	v.handler.ServeHTTP(w, inner)
}

// take gives the run, opened, to be given back by leave.
func (s *shelf) take(id string) *volume {
	s.mu.Lock()
	v := s.volumes[id]
	if v == nil {
		v = new(volume)
		s.volumes[id] = v
	}
	v.users++
	s.mu.Unlock()
	v.open.Do(func() {
		dir, feed, done, err := s.library.Open(id)
		s.mu.Lock()
		defer s.mu.Unlock()
		if v.err = err; err != nil {
			delete(s.volumes, id) // it may come to be
			return
		}
		v.close = done
		cfg := Config{Dir: dir, Feed: feed, Page: s.library.RunPage}
		if s.library.Last != nil {
			cfg.Last = s.library.Last(dir, feed)
		}
		v.handler = newView(cfg, s.fault).routes(nil)
	})
	return v
}

func (s *shelf) leave(v *volume) {
	s.mu.Lock()
	v.users--
	v.left = time.Now()
	dropped := s.drop(keptOpen)
	s.mu.Unlock()
	for _, v := range dropped {
		v.close()
	}
}

// drop takes runs off the shelf that nobody looks at, but for the last few.
func (s *shelf) drop(keep int) []*volume {
	var dropped []*volume
	for {
		idle, oldest := 0, ""
		for id, v := range s.volumes {
			if v.users > 0 || v.close == nil {
				continue
			}
			idle++
			if oldest == "" || v.left.Before(s.volumes[oldest].left) {
				oldest = id
			}
		}
		if idle <= keep {
			return dropped
		}
		dropped = append(dropped, s.volumes[oldest])
		delete(s.volumes, oldest)
	}
}

// clear closes the runs once nobody is served any more.
func (s *shelf) clear(ctx context.Context) {
	poll(ctx, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, v := range s.volumes {
			if v.users > 0 {
				return false
			}
		}
		return true
	})
	s.mu.Lock()
	dropped := s.drop(0)
	s.mu.Unlock()
	for _, v := range dropped {
		v.close()
	}
}

// answerJSON answers with what is asked for, or with what is wrong with the
// question.
func answerJSON(w http.ResponseWriter, ask func() (any, error)) {
	value, err := ask()
	if err != nil {
		refuse(w, http.StatusNotFound, err.Error()+".")
		return
	}
	body, err := json.Marshal(value)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "The answer could not be encoded.")
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = w.Write(body)
}
