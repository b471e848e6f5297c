package serve

import (
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"
)

// codeLife is how long a one-time code is good for.
const codeLife = 60 * time.Second

// codes are the one-time codes that were issued and not used. They are kept as
// hashes, so that finding one takes a time that tells nothing about it.
type codes struct {
	mu      sync.Mutex
	expires map[[sha256.Size]byte]time.Time
}

func newCodes() *codes { return &codes{expires: make(map[[sha256.Size]byte]time.Time)} }

func (c *codes) issue() string {
	code := rand.Text()
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for old, expires := range c.expires {
		if now.After(expires) {
			delete(c.expires, old)
		}
	}
	c.expires[sha256.Sum256([]byte(code))] = now.Add(codeLife)
	return code
}

// redeem tells whether the code is good, and ends it.
func (c *codes) redeem(code string) bool {
	key := sha256.Sum256([]byte(code))
	c.mu.Lock()
	defer c.mu.Unlock()
	expires, ok := c.expires[key]
	delete(c.expires, key)
	return ok && !time.Now().After(expires)
}
