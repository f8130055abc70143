package deploy

import (
	"bytes"
	"errors"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/count-db/count/internal/config"
)

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestExampleConfiguration: what `count check config` would say of the example.
func TestExampleConfiguration(t *testing.T) {
	cfg, err := config.Load(config.Sources{Args: []string{"--config.file", "count.yaml"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.ClusterNodes) != 3 || !slices.Contains(cfg.ClusterNodes, cfg.AdvertiseAddress) {
		t.Errorf("nodes %v, advertised %s", cfg.ClusterNodes, cfg.AdvertiseAddress)
	}
}

// TestComposeSettings: the nodes of the compose file start with their settings.
func TestComposeSettings(t *testing.T) {
	var file struct {
		Services map[string]struct {
			Hostname    string
			Environment map[string]string
			Healthcheck struct{ Test []string }
		}
	}
	if err := yaml.Unmarshal(read(t, "../docker-compose.yml"), &file); err != nil {
		t.Fatal(err)
	}
	ids := map[uint64]bool{}
	for name, s := range file.Services {
		if !strings.HasPrefix(name, "count-") {
			continue
		}
		cfg, err := config.Load(config.Sources{Environ: append(environ(s.Environment), "BIND_ADDRESS=0.0.0.0:8080")})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if cfg.AdvertiseAddress != s.Hostname+":8080" || s.Hostname != name || !slices.Contains(cfg.ClusterNodes, cfg.AdvertiseAddress) {
			t.Errorf("%s: hostname %s, advertised %s, nodes %v", name, s.Hostname, cfg.AdvertiseAddress, cfg.ClusterNodes)
		}
		if want := []string{"CMD", "/count", "health", "--ready"}; !slices.Equal(s.Healthcheck.Test, want) {
			t.Errorf("%s: health check %v, want %v", name, s.Healthcheck.Test, want)
		}
		ids[cfg.NodeID] = true
		for _, other := range []string{"haproxy.cfg", "prometheus.yml"} {
			if !bytes.Contains(read(t, other), []byte(name+":8080")) {
				t.Errorf("%s does not know %s", other, name)
			}
		}
	}
	if len(ids) != 3 {
		t.Errorf("node ids %v, want three", ids)
	}
}

func environ(set map[string]string) []string {
	var all []string
	for k, v := range set {
		all = append(all, k+"="+v)
	}
	return all
}

// object is what the test needs of a Kubernetes object; a member that is not
// here is a fault, so that misspelt ones are found.
type object struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   metadata
	Spec       yaml.Node
}

type metadata struct {
	Name                string
	Labels, Annotations map[string]string
}

type selector struct {
	MatchLabels map[string]string `yaml:"matchLabels"`
}

type service struct {
	ClusterIP                string `yaml:"clusterIP"`
	PublishNotReadyAddresses bool   `yaml:"publishNotReadyAddresses"`
	Selector                 map[string]string
	Ports                    []struct {
		Name       string
		Port       int
		TargetPort string `yaml:"targetPort"`
	}
}

type budget struct {
	MaxUnavailable int `yaml:"maxUnavailable"`
	Selector       selector
}

type statefulSet struct {
	ServiceName         string `yaml:"serviceName"`
	Replicas            int
	Ordinals            struct{ Start int }
	PodManagementPolicy string         `yaml:"podManagementPolicy"`
	UpdateStrategy      map[string]any `yaml:"updateStrategy"`
	Selector            selector
	Template            struct {
		Metadata metadata
		Spec     pod
	}
	VolumeClaimTemplates []struct {
		Metadata metadata
		Spec     struct {
			AccessModes []string `yaml:"accessModes"`
			Resources   map[string]any
		}
	} `yaml:"volumeClaimTemplates"`
}

type pod struct {
	TerminationGracePeriodSeconds int            `yaml:"terminationGracePeriodSeconds"`
	EnableServiceLinks            bool           `yaml:"enableServiceLinks"`
	AutomountServiceAccountToken  bool           `yaml:"automountServiceAccountToken"`
	SecurityContext               map[string]any `yaml:"securityContext"`
	TopologySpreadConstraints     []any          `yaml:"topologySpreadConstraints"`
	Containers                    []container
}

type container struct {
	Name, Image string
	Args        []string
	Env         []struct {
		Name, Value string
		ValueFrom   any `yaml:"valueFrom"`
	}
	Ports []struct {
		Name          string
		ContainerPort int `yaml:"containerPort"`
	}
	ReadinessProbe  probe `yaml:"readinessProbe"`
	LivenessProbe   probe `yaml:"livenessProbe"`
	Resources       map[string]any
	SecurityContext map[string]any `yaml:"securityContext"`
	VolumeMounts    []struct {
		Name      string
		MountPath string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
}

type probe struct {
	HTTPGet          struct{ Path, Port string } `yaml:"httpGet"`
	PeriodSeconds    int                         `yaml:"periodSeconds"`
	TimeoutSeconds   int                         `yaml:"timeoutSeconds"`
	FailureThreshold int                         `yaml:"failureThreshold"`
}

// strictly decodes what a node of YAML holds and refuses unknown members.
func strictly(t *testing.T, node *yaml.Node, to any) {
	t.Helper()
	text, err := yaml.Marshal(node)
	if err != nil {
		t.Fatal(err)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(to); err != nil {
		t.Fatal(err)
	}
}

func manifests(t *testing.T) map[string]object {
	t.Helper()
	all := map[string]object{}
	d := yaml.NewDecoder(bytes.NewReader(read(t, "kubernetes/count.yaml")))
	d.KnownFields(true)
	for {
		var o object
		err := d.Decode(&o)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all[o.APIVersion+" "+o.Kind+" "+o.Metadata.Name] = o
	}
}

// TestKubernetes: the objects fit together and the nodes start with their
// settings.
func TestKubernetes(t *testing.T) {
	all := manifests(t)
	var headless, clients service
	var pdb budget
	var set statefulSet
	for name, to := range map[string]any{
		"v1 Service count-nodes": &headless, "v1 Service count": &clients, "policy/v1 PodDisruptionBudget count": &pdb, "apps/v1 StatefulSet count": &set,
	} {
		o, ok := all[name]
		if !ok {
			t.Fatalf("no %s", name)
		}
		strictly(t, &o.Spec, to)
	}
	const label = "app.kubernetes.io/name"
	for what, labels := range map[string]map[string]string{
		"headless service": headless.Selector, "service": clients.Selector, "budget": pdb.Selector.MatchLabels,
		"set": set.Selector.MatchLabels, "pods": set.Template.Metadata.Labels,
	} {
		if labels[label] != "count" {
			t.Errorf("%s: labels %v", what, labels)
		}
	}
	if headless.ClusterIP != "None" || !headless.PublishNotReadyAddresses || set.ServiceName != "count-nodes" || pdb.MaxUnavailable != 1 || set.Ordinals.Start != 1 {
		t.Errorf("headless service %+v, set of service %q from ordinal %d, budget %+v", headless, set.ServiceName, set.Ordinals.Start, pdb)
	}
	c := set.Template.Spec.Containers[0]
	if c.ReadinessProbe.HTTPGet.Path != "/-/ready" || c.LivenessProbe.HTTPGet.Path != "/-/healthy" || c.Ports[0].Name != "http" {
		t.Errorf("probes %+v, %+v, ports %+v", c.ReadinessProbe, c.LivenessProbe, c.Ports)
	}
	if c.VolumeMounts[0].Name != set.VolumeClaimTemplates[0].Metadata.Name {
		t.Errorf("mounts %v, claims %v", c.VolumeMounts, set.VolumeClaimTemplates)
	}
	settings := map[string]string{"NODE_ID": "2", "CLUSTER_SECRET": "secret"} // what Kubernetes puts in
	for _, e := range c.Env {
		if e.ValueFrom == nil {
			settings[e.Name] = strings.ReplaceAll(e.Value, "$(POD_NAME)", "count-2")
		}
	}
	cfg, err := config.Load(config.Sources{Environ: environ(settings)})
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.ClusterNodes) != set.Replicas || !slices.Contains(cfg.ClusterNodes, cfg.AdvertiseAddress) || cfg.DataDir != c.VolumeMounts[0].MountPath {
		t.Errorf("nodes %v, advertised %s, data in %s", cfg.ClusterNodes, cfg.AdvertiseAddress, cfg.DataDir)
	}
	if int(cfg.ShutdownTimeout.Seconds()) >= set.Template.Spec.TerminationGracePeriodSeconds {
		t.Errorf("a node may take %v to end, Kubernetes gives it %d s", cfg.ShutdownTimeout, set.Template.Spec.TerminationGracePeriodSeconds)
	}
}

// TestUnit: the settings that the systemd unit gives are settings, and it
// waits longer than a node takes to end.
func TestUnit(t *testing.T) {
	unit := read(t, "count.service")
	var set []string
	for _, m := range regexp.MustCompile(`(?m)^Environment=(.+)$`).FindAllSubmatch(unit, -1) {
		set = append(set, string(m[1]))
	}
	cfg, err := config.Load(config.Sources{Environ: set})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.DataDir != "/var/lib/count" || !bytes.Contains(unit, []byte("StateDirectory=count\n")) {
		t.Errorf("data in %s", cfg.DataDir)
	}
	for _, line := range []string{"Restart=on-failure", "LimitNOFILE=65536", "ExecStart=/usr/bin/count serve"} {
		if !bytes.Contains(unit, []byte(line+"\n")) {
			t.Errorf("the unit has no line %s", line)
		}
	}
}
