package mcp

import (
	"bufio"
	"bytes"
	"io"
	"sync"

	"github.com/sallyport-dev/sallyport/canon"
)

// event is one event of a text/event-stream (WHATWG HTML section 9.2). Only
// what a client needs is kept; comments end here.
type event struct {
	id, name, retry string
	data            []byte
	hasID, hasData  bool
}

// append writes the event as it goes over the wire.
func (ev *event) append(dst []byte) []byte {
	if ev.name != "" {
		dst = append(append(append(dst, "event: "...), ev.name...), '\n')
	}
	if ev.hasID {
		dst = append(append(append(dst, "id: "...), ev.id...), '\n')
	}
	if ev.retry != "" {
		dst = append(append(append(dst, "retry: "...), ev.retry...), '\n')
	}
	if ev.hasData {
		rest := ev.data
		for {
			line, more, found := bytes.Cut(rest, []byte{'\n'})
			dst = append(append(append(dst, "data: "...), line...), '\n')
			if !found {
				break
			}
			rest = more
		}
	}
	return append(dst, '\n')
}

// message makes the event that carries a message.
func message(data []byte) event { return event{name: "message", data: data, hasData: true} }

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 16<<10) }}

// eventReader reads events from an upstream. It refuses what readers of
// event streams take differently: a carriage return on its own, and a byte
// order mark.
type eventReader struct {
	r    *bufio.Reader
	size int // of the event being read
}

func newEventReader(r io.Reader) *eventReader {
	br := readers.Get().(*bufio.Reader)
	br.Reset(r)
	return &eventReader{r: br}
}

// free gives the buffer back; the reader must not be used after.
func (r *eventReader) free() {
	r.r.Reset(nil)
	readers.Put(r.r)
	r.r = nil
}

// next returns the next event that has an id, data or a retry time. At the
// end of the stream it returns io.EOF; an event that the end cut off is
// dropped, as the standard says.
func (r *eventReader) next() (event, error) {
	var ev event
	r.size = 0
	for {
		line, err := r.line()
		if err != nil {
			return event{}, err
		}
		if len(line) == 0 {
			if ev.hasData || ev.hasID || ev.retry != "" {
				return ev, nil
			}
			ev = event{}
			r.size = 0
			continue
		}
		if line[0] == ':' {
			r.size = len(ev.data)
			continue
		}
		field, value, _ := bytes.Cut(line, []byte{':'})
		value = bytes.TrimPrefix(value, []byte{' '})
		switch string(field) {
		case "data":
			if ev.hasData {
				ev.data = append(append(ev.data, '\n'), value...)
			} else {
				ev.data, ev.hasData = value, true
			}
		case "event":
			ev.name = string(value)
		case "id":
			ev.id, ev.hasID = string(value), true
		case "retry":
			ev.retry = string(value)
		}
	}
}

// line returns the next line without its end, in memory of its own.
func (r *eventReader) line() ([]byte, error) {
	var line []byte
	for {
		part, err := r.r.ReadSlice('\n')
		r.size += len(part)
		if r.size > canon.ResultLimits.Bytes {
			return nil, &upstreamError{word: wordTooLarge, text: "sent a message that is too large", sent: true}
		}
		line = append(line, part...)
		if err == bufio.ErrBufferFull {
			continue
		}
		if err != nil {
			return nil, err
		}
		break
	}
	line = bytes.TrimSuffix(line[:len(line)-1], []byte{'\r'})
	if bytes.IndexByte(line, '\r') >= 0 || bytes.HasPrefix(line, []byte("\xef\xbb\xbf")) {
		return nil, &upstreamError{word: wordGarbage, text: "sent an event stream that can be read in two ways", sent: true}
	}
	return line, nil
}
