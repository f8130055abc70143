package backup

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// s3Bucket keeps objects at S3 or what speaks like it.
type s3Bucket struct {
	client *minio.Client
	bucket string
	prefix string
	name   string
	part   int64 // partSize, but in tests
}

// newS3Bucket opens s3://bucket/prefix. Keys, region and endpoint are those that
// AWS's own tools read: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
// AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL. Without
// keys in the environment the files and the machine's role are asked, without a
// region the server. The bucket is named in the path, or in the host where the
// endpoint is one of those that want that (AWS, Google, Aliyun).
func newS3Bucket(u *url.URL, environ []string) (*s3Bucket, error) {
	env := func(name string) string {
		for _, kv := range environ {
			if v, ok := strings.CutPrefix(kv, name+"="); ok {
				return v
			}
		}
		return ""
	}
	if u.Host == "" {
		return nil, fmt.Errorf("%s names no bucket: s3://bucket/prefix", u)
	}
	o := &minio.Options{Secure: true, Region: cmp.Or(env("AWS_REGION"), env("AWS_DEFAULT_REGION"))}
	if key := env("AWS_ACCESS_KEY_ID"); key != "" {
		o.Creds = credentials.NewStaticV4(key, env("AWS_SECRET_ACCESS_KEY"), env("AWS_SESSION_TOKEN"))
	} else {
		o.Creds = credentials.NewChainCredentials([]credentials.Provider{
			&credentials.FileAWSCredentials{}, &credentials.IAM{Client: &http.Client{Timeout: credentialsWait}},
		})
	}
	endpoint := "s3.amazonaws.com"
	if other := cmp.Or(env("AWS_ENDPOINT_URL_S3"), env("AWS_ENDPOINT_URL")); other != "" {
		e, err := url.Parse(other)
		if err != nil || e.Host == "" {
			return nil, fmt.Errorf("AWS_ENDPOINT_URL %q is not a URL", other)
		}
		endpoint, o.Secure = e.Host, e.Scheme != "http"
	}
	client, err := minio.New(endpoint, o)
	if err != nil {
		return nil, fmt.Errorf("open s3 bucket %s: %w", u.Host, err)
	}
	return &s3Bucket{client: client, bucket: u.Host, prefix: strings.Trim(u.Path, "/"), name: u.String(), part: partSize}, nil
}

const (
	// partSize is the length of the parts that larger objects are sent in, in
	// bytes: one is held in memory for each upload. Objects of more than mostParts
	// of them have larger parts: S3 takes 10,000.
	partSize  = 16 << 20
	mostParts = 9_000
	// credentialsWait is how long the machine's role may take to answer.
	credentialsWait = 5 * time.Second
)

// Upload implements Bucket. Every request has its body in memory, so that it can
// be sent again where the server asks for patience.
func (b *s3Bucket) Upload(ctx context.Context, name string, r io.Reader, size int64) error {
	o := minio.PutObjectOptions{PartSize: partSize, ContentType: "application/octet-stream"}
	if size <= b.part {
		body, err := io.ReadAll(io.LimitReader(r, size+1))
		if err == nil && int64(len(body)) != size {
			err = fmt.Errorf("%d bytes came, not %d: %w", len(body), size, io.ErrUnexpectedEOF)
		}
		if err != nil {
			return fmt.Errorf("read what becomes %s: %w", name, err)
		}
		r = bytes.NewReader(body)
	} else {
		r = &wholeReader{r, size}
		o.PartSize = uint64(max(b.part, size/mostParts+1))
	}
	if _, err := b.client.PutObject(ctx, b.bucket, path.Join(b.prefix, name), r, size, o); err != nil {
		return fmt.Errorf("upload %s: %w", name, b.explain(err))
	}
	return nil
}

// wholeReader reads left bytes. Where they end early its error is none of io's own:
// minio-go takes these for the end of what is to be sent, and tries again to send
// too little.
type wholeReader struct {
	r    io.Reader
	left int64
}

// Read implements io.Reader.
func (w *wholeReader) Read(b []byte) (int, error) {
	if w.left == 0 {
		return 0, io.EOF
	}
	n, err := w.r.Read(b[:min(int64(len(b)), w.left)])
	w.left -= int64(n)
	switch {
	case err == nil || w.left == 0:
		return n, nil
	case errors.Is(err, io.EOF):
		return n, fmt.Errorf("%d bytes are missing at the end: %w", w.left, io.ErrUnexpectedEOF)
	}
	return n, fmt.Errorf("%d bytes before the end: %w", w.left, err)
}

// explain says what an operator can do about an answer of S3, where that is not
// plain.
func (b *s3Bucket) explain(err error) error {
	hint := ""
	switch r := minio.ToErrorResponse(err); {
	case r.Code == minio.NoSuchBucket:
		hint = fmt.Sprintf("create the bucket %s first", b.bucket)
	case r.StatusCode == http.StatusForbidden:
		hint = "are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY right, and may they read, write, list and delete here?"
	case r.Code == minio.AuthorizationHeaderMalformed, r.Code == minio.InvalidRegion, r.StatusCode == http.StatusMovedPermanently:
		hint = fmt.Sprintf("is AWS_REGION the region of the bucket %s?", b.bucket)
	default:
		return err
	}
	return fmt.Errorf("%w (%s)", err, hint)
}

// Get implements Bucket.
func (b *s3Bucket) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	o, err := b.client.GetObject(ctx, b.bucket, path.Join(b.prefix, name), minio.GetObjectOptions{})
	if err != nil {
		return nil, fmt.Errorf("read object %s: %w", name, err)
	}
	// Nothing was asked yet: whether it is there shows now.
	if _, err := o.Stat(); err != nil {
		if code := minio.ToErrorResponse(err).Code; code == minio.NoSuchKey {
			err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
		}
		return nil, errors.Join(fmt.Errorf("read object %s: %w", name, b.explain(err)), o.Close())
	}
	return o, nil
}

// List implements Bucket.
func (b *s3Bucket) List(ctx context.Context, dir string) ([]string, error) {
	var out []string
	full := path.Join(b.prefix, dir) + "/"
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // or the rest would be listed all the same
	for o := range b.client.ListObjects(ctx, b.bucket, minio.ListObjectsOptions{Prefix: full}) {
		if o.Err != nil {
			return nil, fmt.Errorf("list %s: %w", dir, b.explain(o.Err))
		}
		if below := strings.TrimPrefix(o.Key, full); below != "" {
			out = append(out, below)
		}
	}
	return out, nil
}

// Delete implements Bucket.
func (b *s3Bucket) Delete(ctx context.Context, name string) error {
	if err := b.client.RemoveObject(ctx, b.bucket, path.Join(b.prefix, name), minio.RemoveObjectOptions{}); err != nil {
		return fmt.Errorf("delete %s: %w", name, b.explain(err))
	}
	return nil
}

// Sweep implements Bucket: it ends uploads of which only parts came.
func (b *s3Bucket) Sweep(ctx context.Context, dir string) (removed int, err error) {
	full := path.Join(b.prefix, dir) + "/"
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for u := range b.client.ListIncompleteUploads(ctx, b.bucket, full, true) {
		if r := minio.ToErrorResponse(u.Err); r.StatusCode == http.StatusNotImplemented || r.Code == minio.NoSuchUpload {
			return removed, nil // a server that keeps no list of them, or calls an empty one so
		}
		if u.Err != nil {
			return removed, fmt.Errorf("list unfinished uploads to %s: %w", dir, b.explain(u.Err))
		}
		if err := b.client.RemoveIncompleteUpload(ctx, b.bucket, u.Key); err != nil {
			return removed, fmt.Errorf("end the unfinished upload of %s: %w", u.Key, b.explain(err))
		}
		removed++
	}
	return removed, nil
}

// String implements Bucket.
func (b *s3Bucket) String() string { return b.name }
