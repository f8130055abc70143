package node

import (
	"fmt"
	"slices"
	"sync"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/count-db/count/internal/config"
	"github.com/count-db/count/internal/vfs"
)

// secrets are what the nodes of a cluster know one another by: the first is shown
// to other nodes, all are taken from them. Those of a file are read again each time
// that they are needed, so that they change while the node runs; a file that cannot
// be read, or is half written, leaves them as they were. Safe for concurrent use.
type secrets struct {
	fs     vfs.FS
	file   string // CLUSTER_SECRET_FILE; empty: they never change
	logger log.Logger

	mu   sync.Mutex
	last []string // guarded by mu; never empty; not changed, only exchanged
	why  string   // guarded by mu; why the file could not be read the last time
}

// newSecrets returns nil where no secret is set.
func newSecrets(fs vfs.FS, cfg *config.Config, logger log.Logger) (*secrets, error) {
	s := &secrets{fs: fs, file: cfg.ClusterSecretFile, logger: logger}
	switch {
	case s.file != "":
		var err error
		if s.last, err = s.read(); err != nil {
			return nil, fmt.Errorf("CLUSTER_SECRET_FILE: %w", err)
		}
	case cfg.ClusterSecret != "":
		s.last = []string{cfg.ClusterSecret}
	default:
		return nil, nil
	}
	return s, nil
}

func (s *secrets) read() ([]string, error) {
	size, err := s.fs.Stat(s.file)
	if err != nil {
		return nil, err
	}
	if size > config.MaxSecretsFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", s.file, config.MaxSecretsFile)
	}
	text, err := vfs.ReadFile(s.fs, s.file)
	if err != nil {
		return nil, err
	}
	all, err := config.ParseSecrets(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.file, err)
	}
	return all, nil
}

// all returns the secrets as they are now, the one that is shown first; none where
// none is set.
func (s *secrets) all() []string {
	now, _ := s.now()
	return now
}

// now returns the secrets, and why those of the file are still the ones from before,
// if they are.
func (s *secrets) now() (all []string, why string) {
	if s == nil {
		return nil, ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == "" {
		return s.last, ""
	}
	read, err := s.read()
	if err != nil {
		if s.why != err.Error() {
			s.why = err.Error()
			level.Warn(s.logger).Log("msg", "CLUSTER_SECRET_FILE cannot be read; the secrets from before stay in use", "err", err)
		}
		return s.last, s.why
	}
	s.why = ""
	if !slices.Equal(read, s.last) {
		level.Info(s.logger).Log("msg", "the secrets of the cluster have changed", "taken", len(read), "another_is_shown", read[0] != s.last[0])
		s.last = read
	}
	return s.last, ""
}

// shown returns what is shown to other nodes; empty: nothing.
func (s *secrets) shown() string {
	if all := s.all(); len(all) > 0 {
		return all[0]
	}
	return ""
}

// problem says for people what is wrong with the file, "" where nothing is.
func (s *secrets) problem() string {
	if _, why := s.now(); why != "" {
		return "CLUSTER_SECRET_FILE cannot be read, and the secrets from before stay in use: " + why
	}
	return ""
}

// register adds a metric by which one sees how far a change of the secret is.
func (s *secrets) register(reg prometheus.Registerer) error {
	if s == nil {
		return nil
	}
	err := reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "count_cluster_secrets", Help: "How many secrets this node takes from other nodes, as CLUSTER_SECRET_FILE is now: 1, and more while the secret is changed.",
	}, func() float64 { return float64(len(s.all())) }))
	if err != nil {
		return fmt.Errorf("register the metric of the secrets: %w", err)
	}
	return nil
}
