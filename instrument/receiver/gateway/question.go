package gateway

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// The fields of a request.
const (
	askModel field = iota + 1
	askStream
	askMessage
	askRole
	askItemType
	askText   // of a message; outside of one, of the user
	askOther  // what a message holds beside text
	askSystem // the system prompt, where it is no message
	askPrevious
	askConversation
)

const (
	maxNameText = 4096     // of the first user message, to find a name in
	maxHashed   = 64 << 10 // of each text
)

// askBasics is what is looked for in any request, askAll in one that tells a
// conversation: OpenAI's chat completions and responses, Anthropic's messages.
var askBasics, askAll = func() (*want, *want) {
	model := &want{field: askModel, keep: 2 * maxWord}
	stream := &want{field: askStream}
	other := func(keys ...string) *want {
		w := &want{members: map[string]*want{}}
		for _, key := range keys {
			w.members[key] = &want{field: askOther, pieces: true}
		}
		return w
	}
	image := other("url") // image_url is an object or, in the responses API, text
	image.field, image.pieces = askOther, true
	part := &want{members: map[string]*want{
		"text":        {field: askText, pieces: true},
		"image_url":   image,
		"source":      other("data", "url", "file_id"),
		"input_audio": other("data"),
		"file":        other("file_id", "file_data"),
		"file_id":     {field: askOther, pieces: true},
		"file_data":   {field: askOther, pieces: true},
		"file_url":    {field: askOther, pieces: true},
	}}
	message := &want{field: askMessage, members: map[string]*want{
		"role":    {field: askRole, keep: 2 * maxWord},
		"type":    {field: askItemType, keep: 2 * maxWord},
		"content": {field: askText, pieces: true, items: part},
	}}
	systemPart := &want{members: map[string]*want{"text": {field: askSystem, pieces: true}}}
	return &want{members: map[string]*want{"model": model, "stream": stream}},
		&want{members: map[string]*want{
			"model": model, "stream": stream,
			"messages":             {items: message},
			"input":                {field: askText, pieces: true, items: message},
			"system":               {field: askSystem, pieces: true, items: systemPart},
			"instructions":         {field: askSystem, pieces: true},
			"previous_response_id": {field: askPrevious, keep: 2 * maxWord},
			"conversation": {field: askConversation, keep: 2 * maxWord, members: map[string]*want{
				"id": {field: askConversation, keep: 2 * maxWord},
			}},
		}}
}()

// question is what is learnt of a request as it passes.
type question struct {
	model    string
	stream   bool
	previous string // the response that it follows
	thread   string // the conversation that the provider keeps
	answered bool   // the history holds an answer
	nameText string // the beginning of the first user message

	scan      *scanner
	system    hash.Hash // of what comes before the first user message
	message   hash.Hash // of the message at hand
	user      [sha256.Size]byte
	hasSystem bool
	hasUser   bool
	hashed    int // bytes of the text at hand

	inMessage bool
	hasText   bool // the message at hand
	role      string
	itemType  string
	name      []byte // the text of the message at hand, escapes as they stand
}

func newQuestion(e endpoint) *question {
	q := &question{}
	root := askBasics
	if e.conversation {
		root, q.system, q.message = askAll, sha256.New(), sha256.New()
	}
	q.scan = newScanner(root, q.take)
	return q
}

func (q *question) take(t token, f field, b []byte) {
	switch f {
	case askModel:
		if t == text {
			q.model = wordOf(b)
		}
	case askStream:
		q.stream = t == scalar && string(b) == "true"
	case askPrevious:
		if t == text {
			q.previous = wordOf(b)
		}
	case askConversation:
		if t == text {
			q.thread = wordOf(b)
		}
	case askSystem:
		q.hash(q.system, t, b)
		q.hasSystem = q.hasSystem || t == text
	case askMessage:
		switch t {
		case opened:
			q.inMessage = true
			q.beginMessage()
		case closed:
			q.inMessage = false
			q.endMessage()
		}
	case askRole:
		if t == text {
			q.role = wordOf(b)
		}
	case askItemType:
		if t == text {
			q.itemType = wordOf(b)
		}
	case askText, askOther:
		if q.hasUser || (t != piece && t != text) {
			return
		}
		q.hasText = true
		q.hash(q.message, t, b)
		if f == askText {
			q.keepName(t, b)
		}
		if t == text && !q.inMessage { // the input of the responses API as plain text
			q.role = "user"
			q.endMessage()
		}
	}
}

// hash adds a text to a hash. That it is the same whether a message is given as
// text or as a list with one text in it is meant: clients change between both.
func (q *question) hash(h hash.Hash, t token, b []byte) {
	switch t {
	case piece:
		_, _ = h.Write(b[:min(len(b), max(0, maxHashed-q.hashed))])
		q.hashed += len(b)
	case text:
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(q.hashed)))
		q.hashed = 0
	}
}

func (q *question) keepName(t token, b []byte) {
	switch t {
	case piece:
		q.name = append(q.name, b[:min(len(b), max(0, maxNameText-len(q.name)))]...)
	case text:
		q.name = append(q.name, '\\', 'n')
	}
}

func (q *question) beginMessage() {
	q.role, q.itemType, q.hasText, q.hashed = "", "", false, 0
	if !q.hasUser {
		q.name = q.name[:0]
		q.message.Reset()
	}
}

func (q *question) endMessage() {
	switch {
	case q.role == "assistant":
		q.answered = true
	case q.role == "" && q.itemType != "" && q.itemType != "message":
		q.answered = true // calls and their results stand in the list themselves
	case q.hasUser || !q.hasText:
	case q.role == "user":
		q.message.Sum(q.user[:0])
		q.hasUser, q.nameText = true, unescape(q.name)
		q.name = nil
	case q.role == "system" || q.role == "developer":
		_, _ = q.system.Write(q.message.Sum(nil))
		q.hasSystem = true
	}
}

// keys are two hashes that tell the conversation: by its first system and user
// messages, and by the latter alone. Empty where there is no user message.
func (q *question) keys() (exact, user string) {
	if !q.hasUser {
		return "", ""
	}
	all := sha256.Sum256(append(q.system.Sum(nil), q.user[:]...))
	return string(all[:16]), string(q.user[:16])
}
