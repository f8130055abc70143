package config

import (
	"slices"
	"strings"
	"testing"
)

func TestParseSecrets(t *testing.T) {
	for _, c := range []struct {
		text, problem string
		want          []string
	}{
		{text: "one", want: []string{"one"}},
		{text: "one\n", want: []string{"one"}},
		{text: "\n  new \r\n\nold, with a comma\n\n", want: []string{"new", "old, with a comma"}},
		{text: "", problem: "no secret"},
		{text: " \n\t\n", problem: "no secret"},
		{text: "a\nb\x00c", problem: "line 2 has a control character"},
		{text: strings.Repeat("a\n", 17), problem: "17 secrets"},
		{text: strings.Repeat("a", MaxSecretsFile+1), problem: "larger than"},
	} {
		got, err := ParseSecrets([]byte(c.text))
		if (err != nil) != (c.problem != "") || (err != nil && !strings.Contains(err.Error(), c.problem)) || !slices.Equal(got, c.want) {
			t.Errorf("%.40q: %q, %v", c.text, got, err)
		}
	}
}

// FuzzParseSecrets: whatever is in the file, what is read of it can be a header, and
// writing it out again changes nothing.
func FuzzParseSecrets(f *testing.F) {
	f.Add([]byte("new\nold\n"))
	f.Add([]byte("\n \x85\xa0"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := ParseSecrets(text)
		if err != nil {
			return
		}
		for _, secret := range got {
			if secret == "" || strings.TrimSpace(secret) != secret || strings.ContainsAny(secret, "\r\n\x00") {
				t.Errorf("%q", secret)
			}
		}
		if again, err := ParseSecrets([]byte(strings.Join(got, "\n"))); err != nil || !slices.Equal(again, got) {
			t.Errorf("%q, then %q, %v", got, again, err)
		}
	})
}

func TestOneSourceOfSecrets(t *testing.T) {
	_, err := loadWith(t, []string{"CLUSTER_SECRET=hush", "CLUSTER_SECRET_FILE=/etc/count/secret"}, "")
	if err == nil || !strings.Contains(err.Error(), "CLUSTER_SECRET_FILE") || strings.Contains(err.Error(), "hush") {
		t.Errorf("both are taken, or shown: %v", err)
	}
	cfg, err := loadWith(t, []string{"CLUSTER_SECRET_FILE=/etc/count/secret"}, "")
	if err != nil || cfg.ClusterSecretFile != "/etc/count/secret" {
		t.Errorf("%v", err)
	}
}
