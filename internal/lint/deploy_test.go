package lint

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestComposeFile: the compose file uses only what docker-compose 1.29 knows
// too, and every file that it mounts is there.
func TestComposeFile(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]struct {
			Image     string
			Volumes   []string
			DependsOn []string `yaml:"depends_on"`
		}
		Volumes map[string]any
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	var top map[string]any
	if err := yaml.Unmarshal(text, &top); err != nil {
		t.Fatal(err)
	}
	for key := range top {
		if key != "services" && key != "volumes" && !strings.HasPrefix(key, "x-") {
			t.Errorf("top-level key %s: docker-compose 1.29 does not know it", key)
		}
	}
	for name, s := range file.Services {
		if !strings.Contains(s.Image, ":") || strings.HasSuffix(s.Image, ":latest") {
			t.Errorf("%s: image %q has no pinned version", name, s.Image)
		}
		for _, v := range s.Volumes {
			source, _, _ := strings.Cut(v, ":")
			if _, named := file.Volumes[source]; !named && !exists(source) {
				t.Errorf("%s mounts %s, which is not there", name, source)
			}
		}
		for _, other := range s.DependsOn {
			if _, ok := file.Services[other]; !ok {
				t.Errorf("%s depends on %s, which is no service", name, other)
			}
		}
	}
}
