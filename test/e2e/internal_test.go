package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/count-db/count/test/process"
)

// TestDocumentedInternalForms: the JSON forms of the documented system are
// taken by a node alone too.
func TestDocumentedInternalForms(t *testing.T) {
	n := process.Start(t, t.TempDir(), "NODE_ID=2")
	at := minuteAgo()
	code, text, err := n.Post("/replicate", fmt.Sprintf(`{"series":"cpu.usage","points":[{"timestamp":%d,"value":1.5},{"timestamp":%d,"value":2.5}],"replication_id":"u","source_node":1}`, at, at+1))
	if err != nil || code != 200 || strings.TrimSpace(text) != `{"success":true,"error":null,"node_id":2}` {
		t.Errorf("replicate: %d %s %v", code, text, err)
	}
	wantRange(t, n, "cpu.usage", at, 1.5)
	bounds := fmt.Sprintf(`"start_time":%d,"end_time":%d`, at, at+10)
	for _, c := range []struct{ path, body, want string }{
		{"/query/range", `{"series":"cpu.usage",` + bounds + `,"aggregation":null,"request_id":"u"}`, fmt.Sprintf(`{"success":true,"data":[{"timestamp":%d,"value":1.5},{"timestamp":%d,"value":2.5}],"aggregated_value":null,"error":null,"node_id":2}`, at, at+1)},
		{"/query/aggregated", `{"series":"cpu.usage",` + bounds + `,"aggregation":"Mean","request_id":"u"}`, `{"success":true,"data":null,"aggregated_value":2,"error":null,"node_id":2}`},
	} {
		code, text, err := n.Post(c.path, c.body)
		if err != nil || code != 200 || strings.TrimSpace(text) != c.want {
			t.Errorf("%s: %d %s %v, want %s", c.path, code, text, err, c.want)
		}
	}
	node := `{"id":3,"address":"127.0.0.1:9","status":"Active","last_seen":1,"version":"x","data_size":0}`
	code, text, err = n.Post("/cluster/join", `{"sender_id":3,"message_type":{"NodeJoin":{"node":`+node+`}},"timestamp":1}`)
	var answer struct {
		SenderID    int `json:"sender_id"`
		MessageType struct {
			ClusterState struct {
				Nodes []struct{ ID int }
			}
		} `json:"message_type"`
	}
	if err != nil || code != 200 || json.Unmarshal([]byte(text), &answer) != nil || answer.SenderID != 2 || len(answer.MessageType.ClusterState.Nodes) == 0 {
		t.Errorf("join: %d %s %v", code, text, err)
	}
	for _, kind := range []string{`"Heartbeat":{"node":` + node + `}`, `"NodeLeave":{"node_id":3}`, `"NodeFailed":{"node_id":3}`} {
		if code, text, err := n.Post("/cluster/gossip", `{"sender_id":3,"message_type":{`+kind+`},"timestamp":1}`); err != nil || code != 200 {
			t.Errorf("gossip %s: %d %s %v", kind, code, text, err)
		}
	}
	if code, text, err := n.Get("/cluster/status"); err != nil || code != 200 || !strings.Contains(text, `"node_id":2`) {
		t.Errorf("status: %d %s %v", code, text, err)
	}
}

// TestWrongInternalForms: what is wrong with a request is 400, whatever it is.
func TestWrongInternalForms(t *testing.T) {
	n := process.Start(t, t.TempDir())
	node := func(body string) string { return `{"sender_id":2,"timestamp":1,"message_type":` + body + `}` }
	for path, bodies := range map[string][]string{
		"/replicate": {
			`{"series":5}`, `{"series":"","points":[{"timestamp":1,"value":1}]}`, `{"series":"a","points":5}`,
			`{"series":"a","points":[{"timestamp":-1,"value":1}]}`, `{"series":"a","points":[{"value":1}]}`,
			`{"series":"a","points":[{"timestamp":1}]}`, `{"series":"a","points":[{"timestamp":1,"value":null}]}`,
			`{"series":"a","points":[{"timestamp":9223372036854775807,"value":1}]}`, `{"series":"a{x=1}","points":[{"timestamp":1,"value":1}]}`,
		},
		"/cluster/join":     {node(`{}`), node(`null`), node(`{"NodeJoin":{"node":null}}`), node(`{"Heartbeat":{"node":{"id":2,"address":"x","status":"Active"}}}`)},
		"/cluster/gossip":   {node(`{}`), node(`{"Bogus":{}}`), node(`{"Heartbeat":{"node":{"id":0,"address":"x","status":"Active"}}}`)},
		"/query/range":      {`{"series":5,"start_time":0,"end_time":1}`, `{"series":"a","start_time":2,"end_time":1}`, `{"series":"a","start_time":0}`},
		"/query/aggregated": {`{"series":"a","start_time":0,"end_time":1,"aggregation":"Bogus"}`},
	} {
		for _, body := range append(bodies, "", "{", "null", "[]", "\xff") {
			if code, text, err := n.Post(path, body); err != nil || code != 400 {
				t.Errorf("%s %s: %d %s %v, want 400", path, body, code, text, err)
			}
		}
	}
}

// TestSecretGuardsTheInternalForms: with a secret only who knows it is heard.
func TestSecretGuardsTheInternalForms(t *testing.T) {
	n := process.Start(t, t.TempDir(), "CLUSTER_SECRET=hush")
	for _, path := range []string{
		"/replicate", "/cluster/join", "/cluster/gossip", "/cluster/leave", "/cluster/remove?node=2", "/cluster/replication-factor?factor=2", "/cluster/abort",
		"/cluster/pause", "/cluster/resume", "/cluster/recover?force=true", "/cluster/repair", "/cluster/backup", "/cluster/restore", "/internal/connect", "/internal/anything",
	} {
		for _, authorization := range []string{"", "Bearer ", "Bearer hus", "Bearer hushh", "bearer hush", "Basic aHVzaDpodXNo"} {
			code, _, text, err := n.Do("POST", path, http.Header{"Authorization": {authorization}}, []byte("{}"))
			if err != nil || code != 403 {
				t.Errorf("%s with %q: %d %s %v, want 403", path, authorization, code, text, err)
			}
		}
	}
	for _, path := range []string{"/cluster/backup?snapshot=x&file=y", "/internal/connect"} {
		if code, text, err := n.Get(path); err != nil || code != 403 {
			t.Errorf("GET %s: %d %s %v, want 403", path, code, text, err)
		}
	}
	body := fmt.Appendf(nil, `{"series":"a","points":[{"timestamp":%d,"value":1}]}`, minuteAgo())
	code, _, text, err := n.Do("POST", "/replicate", http.Header{"Authorization": {"Bearer hush"}}, body)
	if err != nil || code != 200 {
		t.Errorf("with the secret: %d %s %v", code, text, err)
	}
}
