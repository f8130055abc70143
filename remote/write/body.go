package write

import (
	"fmt"
	"io"
	"net/http"
	"unsafe"

	"github.com/golang/snappy"

	"github.com/count-db/count/internal/admission"
	"github.com/count-db/count/internal/model"
)

const (
	// firstRead is how much room is claimed at first, whatever length is announced:
	// more is claimed as the body comes, so that those who send theirs slowly, or
	// not at all, do not use up what others need.
	firstRead = 16 << 10
	// requestCost is what a request counts for beside its body, so that the
	// bound on memory also bounds the number of requests.
	requestCost = 16 << 10
	// maxKeptBytes is the most memory that one request leaves to the next ones:
	// several times what usual ones of 2,000 samples need.
	maxKeptBytes = 4 << 20
)

// request is the memory of one request.
type request struct {
	claim   admission.Claim // until the request ends
	decoder decoder
	body    []byte // as sent
	plain   []byte // decompressed; its length is what is allocated
}

// kept is the memory that the request would leave to the next one.
func (req *request) kept() int {
	const sample = int(unsafe.Sizeof(model.FloatSample{}))
	return cap(req.body) + cap(req.plain) + cap(req.decoder.batch.Floats)*sample + cap(req.decoder.scratch)
}

// read returns the decompressed body.
func (req *request) read(r *http.Request, opts Options) ([]byte, error) {
	if err := req.readBody(r, opts.MaxBodyBytes); err != nil {
		return nil, err
	}
	size, err := snappy.DecodedLen(req.body)
	if err != nil {
		return nil, &admission.Rejection{Reason: admission.Malformed, Detail: "body is not in snappy's block format"}
	}
	if int64(size) > opts.MaxDecodedBytes {
		return nil, fmt.Errorf("%w: %d bytes decompressed, at most %d are taken", admission.ErrTooLarge, size, opts.MaxDecodedBytes)
	}
	if err := req.claim.More(int64(size)); err != nil {
		return nil, err
	}
	if len(req.plain) < size {
		req.plain = make([]byte, size+size/4)
	}
	plain, err := snappy.Decode(req.plain, req.body)
	if err != nil {
		return nil, &admission.Rejection{Reason: admission.Malformed, Detail: "body is not in snappy's block format: " + err.Error()}
	}
	return plain, nil
}

// readBody reads the body as it is sent.
func (req *request) readBody(r *http.Request, limit int64) error {
	tooLarge := fmt.Errorf("%w: a body may have %d bytes", admission.ErrTooLarge, limit)
	if r.ContentLength > limit {
		return tooLarge
	}
	most := limit + 1 // one more, to meet the end
	if r.ContentLength >= 0 {
		most = r.ContentLength + 1
	}
	room := min(firstRead, most)
	if err := req.claim.More(requestCost + room); err != nil {
		return err
	}
	req.body = req.body[:0]
	for {
		if int64(len(req.body)) == room {
			grow := min(room, most-room)
			if grow <= 0 {
				return tooLarge
			}
			if err := req.claim.More(grow); err != nil {
				return err
			}
			room += grow
		}
		if int64(cap(req.body)) < room {
			req.body = append(make([]byte, 0, room), req.body...)
		}
		n, err := r.Body.Read(req.body[len(req.body):room])
		req.body = req.body[:len(req.body)+n]
		if int64(len(req.body)) > limit {
			return tooLarge
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return bodyError(err)
		}
	}
}

// bodyError says why a body could not be read to its end.
func bodyError(err error) error {
	if tooLarge, ok := err.(*http.MaxBytesError); ok { //nolint:errorlint // net/http returns it unwrapped
		return fmt.Errorf("%w: a body may have %d bytes", admission.ErrTooLarge, tooLarge.Limit)
	}
	return &admission.Rejection{Reason: admission.Malformed, Detail: "read body: " + err.Error()}
}
