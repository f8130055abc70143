package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// resumeState is how far an import is, kept in a file: {"PATH": OFFSET}. A nil
// state knows and keeps nothing. It is used by one goroutine at a time.
type resumeState struct {
	path    string
	offsets map[string]int64
	saved   time.Time
	dirty   bool
}

// resumeEvery is how often the state is written while work goes on. What is sent
// again after a crash is written again with the same values.
const resumeEvery = time.Second

func openResumeState(path string) (*resumeState, error) {
	s := &resumeState{path: path, offsets: map[string]int64{}}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read how far the import is: %w", err)
	}
	if err := json.Unmarshal(text, &s.offsets); err != nil {
		return nil, fmt.Errorf("%s is not what --resume wrote: %w", path, err)
	}
	return s, nil
}

func (s *resumeState) offset(key string) int64 {
	if s == nil {
		return 0
	}
	return s.offsets[key]
}

func (s *resumeState) note(key string, offset int64) error {
	s.offsets[key] = offset
	s.dirty = true
	if time.Since(s.saved) < resumeEvery {
		return nil
	}
	return s.save()
}

func (s *resumeState) save() error {
	if s == nil || !s.dirty {
		return nil
	}
	text, err := json.MarshalIndent(s.offsets, "", "  ")
	if err != nil {
		return fmt.Errorf("encode how far the import is: %w", err)
	}
	temp := s.path + ".tmp"
	if err := os.WriteFile(temp, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("note how far the import is: %w", err)
	}
	if err := os.Rename(temp, s.path); err != nil {
		return fmt.Errorf("note how far the import is: %w", err)
	}
	s.saved, s.dirty = time.Now(), false
	return nil
}
