package deploy

import (
	"bytes"
	"slices"
	"testing"

	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

// TestKubernetesTypes: the manifests are what Kubernetes's own types take; a
// member that they do not know, or of another type, is a fault.
func TestKubernetesTypes(t *testing.T) {
	if err := yaml.UnmarshalStrict([]byte("spec: {prots: []}"), &core.Service{}); err == nil {
		t.Fatal("an unknown member is not found")
	}
	var kinds []string
	all := slices.Concat(read(t, "kubernetes/count.yaml"), []byte("\n---\n"), read(t, "kubernetes/backup.yaml"))
	for _, part := range bytes.Split(all, []byte("\n---\n")) {
		var head struct{ APIVersion, Kind string }
		if err := yaml.Unmarshal(part, &head); err != nil {
			t.Fatal(err)
		}
		if head.Kind == "" {
			continue // comments only
		}
		kind := head.APIVersion + " " + head.Kind
		to, known := map[string]any{
			"v1 Service": &core.Service{}, "v1 Secret": &core.Secret{}, "v1 ServiceAccount": &core.ServiceAccount{}, "v1 ConfigMap": &core.ConfigMap{},
			"apps/v1 StatefulSet": &apps.StatefulSet{}, "policy/v1 PodDisruptionBudget": &policy.PodDisruptionBudget{},
			"batch/v1 CronJob": &batch.CronJob{},
		}[kind]
		if !known {
			t.Errorf("%s: the test does not know this kind", kind)
			continue
		}
		if err := yaml.UnmarshalStrict(part, to); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		kinds = append(kinds, kind)
	}
	for _, want := range []string{"v1 Service", "apps/v1 StatefulSet", "policy/v1 PodDisruptionBudget", "batch/v1 CronJob"} {
		if !slices.Contains(kinds, want) {
			t.Errorf("no %s among %v", want, kinds)
		}
	}
}
