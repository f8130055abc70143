package appendable

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/count-db/count/internal/admission"
)

const (
	// requestCost is what a request counts for beside its body: buffers, and what
	// decompressing takes.
	requestCost = 64 << 10
	// messageCost is about what each message of a request takes when decoded. An
	// empty one is two bytes as it is sent.
	messageCost = 100
	// firstRead is how much room is made at first.
	firstRead = 16 << 10
)

// Bounded lets through to a handler of OTLP only what it can decode within the
// memory that writes may take: its decoders have no bounds of their own, on the
// depth of what they decode neither. Bodies are at most maxBody bytes,
// decompressed; the next handler gets them so.
func Bounded(memory admission.Memory, maxBody int64, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := &boundedBody{claim: admission.NewClaim(memory), most: maxBody}
		defer b.claim.Release()
		if err := b.read(r); err != nil {
			code, retryAfter := admission.StatusOf(err)
			if retryAfter > 0 {
				w.Header().Set("Retry-After", admission.RetryAfterSeconds(retryAfter))
			}
			http.Error(w, err.Error(), code)
			return
		}
		inner := r.Clone(r.Context())
		inner.Header.Del("Content-Encoding")
		inner.Header.Set("Content-Type", b.mediaType)
		inner.Body, inner.ContentLength = io.NopCloser(bytes.NewReader(b.body)), int64(len(b.body))
		next.ServeHTTP(w, inner)
	})
}

// boundedBody is the body of one request.
type boundedBody struct {
	claim     admission.Claim
	most      int64
	body      []byte
	mediaType string
}

// The media types of OTLP over HTTP.
const (
	typeProtobuf = "application/x-protobuf"
	typeJSON     = "application/json"
)

// read reads and checks the body.
func (b *boundedBody) read(r *http.Request) error {
	b.mediaType, _, _ = strings.Cut(r.Header.Get("Content-Type"), ";")
	b.mediaType = strings.ToLower(strings.TrimSpace(b.mediaType))
	if b.mediaType != typeProtobuf && b.mediaType != typeJSON {
		return malformed(fmt.Sprintf("unsupported content type: %s, supported: [%s, %s]", r.Header.Get("Content-Type"), typeJSON, typeProtobuf))
	}
	if err := b.claim.More(requestCost); err != nil {
		return err
	}
	in := io.Reader(r.Body)
	switch enc := r.Header.Get("Content-Encoding"); {
	case enc == "" || strings.EqualFold(enc, "identity"):
	case strings.EqualFold(enc, "gzip"):
		unzip, err := gzip.NewReader(in)
		if err != nil {
			return b.unread(err)
		}
		in = unzip
	default:
		return malformed(fmt.Sprintf("unsupported compression: %s. Only \"gzip\" or no compression supported", enc))
	}
	if err := b.fill(in); err != nil {
		return err
	}
	messages, err := countMessages(b.mediaType, b.body)
	if err != nil {
		return malformed(err.Error())
	}
	return b.claim.More(messages * messageCost)
}

// fill reads to the end, claiming memory as it comes.
func (b *boundedBody) fill(in io.Reader) error {
	for {
		if len(b.body) == cap(b.body) {
			grow := int64(max(cap(b.body), firstRead))
			if err := b.claim.More(grow); err != nil {
				return err
			}
			b.body = append(make([]byte, 0, int64(cap(b.body))+grow), b.body...)
		}
		n, err := in.Read(b.body[len(b.body):cap(b.body)])
		b.body = b.body[:len(b.body)+n]
		if int64(len(b.body)) > b.most {
			return b.tooLarge()
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return b.unread(err)
		}
	}
}

func (b *boundedBody) tooLarge() error {
	return fmt.Errorf("%w: a body may have %d bytes", admission.ErrTooLarge, b.most)
}

func (b *boundedBody) unread(err error) error {
	if errors.As(err, new(*http.MaxBytesError)) {
		return b.tooLarge()
	}
	return malformed("read body: " + err.Error())
}

func malformed(text string) error {
	return &admission.Rejection{Reason: admission.Malformed, Detail: text}
}
