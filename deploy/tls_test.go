package deploy

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v3"
	apps "k8s.io/api/apps/v1"
	k8syaml "sigs.k8s.io/yaml"

	"github.com/count-db/count/internal/config"
)

// TestComposeWithTLS: the nodes start with their settings, and the files that
// these name are mounted.
func TestComposeWithTLS(t *testing.T) {
	var file struct {
		Services map[string]struct {
			Hostname    string
			Environment map[string]string
			Volumes     []string
		}
	}
	if err := yaml.Unmarshal(read(t, "tls/docker-compose.yml"), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Services) != 3 {
		t.Fatalf("services %v", file.Services)
	}
	for name, s := range file.Services {
		cfg, err := config.Load(config.Sources{Environ: append(environ(s.Environment), "BIND_ADDRESS=0.0.0.0:8080")})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if cfg.AdvertiseAddress != name+":8080" || s.Hostname != name || !slices.Contains(cfg.ClusterNodes, cfg.AdvertiseAddress) {
			t.Errorf("%s: hostname %s, advertised %s, nodes %v", name, s.Hostname, cfg.AdvertiseAddress, cfg.ClusterNodes)
		}
		for _, mount := range []string{"./web.yml:" + cfg.WebConfigFile + ":ro", "./certs:" + filepath.Dir(cfg.ClusterTLSCA) + ":ro"} {
			if !slices.Contains(s.Volumes, mount) {
				t.Errorf("%s does not mount %s", name, mount)
			}
		}
		if s.Environment["COUNT_CA_FILE"] != cfg.ClusterTLSCA || s.Environment["COUNT_SERVER"] != "https://localhost:8080" {
			t.Errorf("%s: the health check goes to %s and trusts %s", name, s.Environment["COUNT_SERVER"], s.Environment["COUNT_CA_FILE"])
		}
	}
}

// TestCertificates: what the script makes is a web config file's, for every node.
func TestCertificates(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not here")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "web.yml"), read(t, "tls/web.yml"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time a new certificate of the same authority
		if out, err := exec.Command("sh", "tls/certificates.sh", filepath.Join(dir, "certs")).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	if err := web.Validate(filepath.Join(dir, "web.yml")); err != nil {
		t.Fatal(err)
	}
	pem := filepath.Join(dir, "certs", "node.pem")
	pair, err := tls.LoadX509KeyPair(pem, pem)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(read(t, filepath.Join(dir, "certs", "ca.pem")))
	for _, name := range []string{"count-1", "count-2", "count-3", "localhost", "127.0.0.1"} {
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestKubernetesWithTLS: the patch is what the type takes, changes the container
// that there is, and its settings go with those of the StatefulSet.
func TestKubernetesWithTLS(t *testing.T) {
	text := bytes.ReplaceAll(read(t, "kubernetes/tls/patch.yaml"), []byte("            $patch: replace\n"), nil)
	var patch apps.StatefulSet
	if err := k8syaml.UnmarshalStrict(text, &patch); err != nil {
		t.Fatal(err)
	}
	var set statefulSet
	o := manifests(t)["apps/v1 StatefulSet count"]
	strictly(t, &o.Spec, &set)
	c := patch.Spec.Template.Spec.Containers[0]
	if c.Name != set.Template.Spec.Containers[0].Name || c.LivenessProbe.TCPSocket.Port.StrVal != "http" {
		t.Errorf("container %s, probe %+v", c.Name, c.LivenessProbe)
	}
	settings := map[string]string{"NODE_ID": "2", "CLUSTER_SECRET": "secret"}
	for _, e := range set.Template.Spec.Containers[0].Env {
		if e.ValueFrom == nil {
			settings[e.Name] = strings.ReplaceAll(e.Value, "$(POD_NAME)", "count-2")
		}
	}
	for _, e := range c.Env {
		settings[e.Name] = e.Value
	}
	cfg, err := config.Load(config.Sources{Environ: environ(settings)})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.ClusterTLS != config.TLSPrefer {
		t.Errorf("CLUSTER_TLS is %s: a cluster that runs could not change over", cfg.ClusterTLS)
	}
	certificate := read(t, "kubernetes/tls/certificate.yaml")
	for _, name := range []string{cfg.WebConfigFile, cfg.ClusterTLSCA, "/etc/count/tls/tls.crt"} {
		mounted := false
		for _, m := range c.VolumeMounts {
			mounted = mounted || m.MountPath == filepath.Dir(name)
		}
		if !mounted {
			t.Errorf("%s is not mounted", name)
		}
	}
	for _, text := range []string{filepath.Base(cfg.WebConfigFile) + ": |", "secretName: " + patch.Spec.Template.Spec.Volumes[1].Secret.SecretName, "cert_file: /etc/count/tls/tls.crt"} {
		if !bytes.Contains(certificate, []byte(text)) {
			t.Errorf("certificate.yaml does not have %s", text)
		}
	}
}
