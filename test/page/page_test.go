package page

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/count-db/count/test/process"
)

// endless is a query that would run for a minute, on no data at all. Prometheus's
// engine looks between its terms whether somebody still wants it.
func endless() string {
	var terms []string
	for i := range 90 {
		terms = append(terms, fmt.Sprintf("quantile_over_time(0.%02d, vector(1)[1h:1s])", i))
	}
	return strings.Join(terms, " + ")
}

// subject is the node whose page is clicked through.
type subject struct {
	process.Client
	query string // has data
	name  string // of the metric in it
	top   string // a metric with many series
}

// aNode starts a node with hours of samples, or takes the one that COUNT_PAGE
// names, which must be one of the demo.
func aNode(t *testing.T) subject {
	t.Helper()
	if at := os.Getenv("COUNT_PAGE"); at != "" {
		return subject{process.Client{URL: strings.TrimSuffix(at, "/")}, `60 * sum by (city) (rate(demo_orders_total[1m]))`, "demo_orders_total", "count_http_request_duration_seconds_bucket"}
	}
	n := process.Start(t, t.TempDir(), "ADMIN_API=true")
	var lines strings.Builder
	for i := int64(0); i < 240; i++ {
		for _, job := range []string{"api", "shop", "mail"} {
			at := time.Now().Add(-time.Duration(i) * time.Minute).UnixMilli()
			fmt.Fprintf(&lines, `{"series":"demo_orders_total","labels":{"job":%q},"timestamp":%d,"value":%d}`+"\n", job, at, (240-i)*int64(len(job)))
		}
	}
	if code, text, err := n.Post("/insert", lines.String()); err != nil || code != http.StatusCreated {
		t.Fatalf("insert: %d %s %v", code, text, err)
	}
	if code, text, err := n.Post("/api/v1/admin/tsdb/flush", ""); err != nil || code != http.StatusNoContent {
		t.Fatalf("flush: %d %s %v", code, text, err)
	}
	return subject{n.Client, `sum by (job) (rate(demo_orders_total[5m]))`, "demo_orders_total", "demo_orders_total"}
}

func TestClickThrough(t *testing.T) {
	chromium(t)
	node := aNode(t)
	b := open(t, node.URL)
	b.do("open the page", chromedp.Navigate(b.root+"/"), chromedp.WaitVisible(chromedp.CSS(".cm-content")))
	b.see("#health", "node ", "healthy")
	if light, dark := b.background("light"), b.background("dark"); light == dark {
		t.Errorf("the page is %s, light and dark", light)
	}
	b.background("light")
	queryConsole(b, node)
	clusterTab(b)
	b.click("a", "Cardinality")
	b.see("#cardinality", "series on this node", node.top, "Churn: series that the window before does not have")
	b.picture("cardinality")
	runningQueries(b, node)
	b.faultless()
}

func queryConsole(b *browser, node subject) {
	b.do("type a query", chromedp.Click(chromedp.CSS(".cm-content")), chromedp.SendKeys(chromedp.CSS(".cm-content"), node.query))
	b.click("button", "Run")
	b.do("see a graph", chromedp.WaitVisible(chromedp.CSS(".plot canvas")))
	b.do("choose a range", chromedp.Evaluate[chromedp.Void](`const r = document.querySelector("select[title=range]"); r.value = "15m"; r.dispatchEvent(new Event("change"))`))
	b.see("#stats", " series, step 3 s")
	b.do("see its graph", chromedp.WaitVisible(chromedp.CSS(".plot canvas")))
	b.picture("query")
	b.click("button", "Explain")
	b.see("#explain", node.name)
	b.see("#stats", "not run")
	b.click("button", "Table")
	b.see("#stats", " series, ")
	b.see("#result table", "series", "value", "{")
	// What was asked is in the address: it can be sent to somebody.
	address, err := chromedp.Run(b.ctx, chromedp.Location())
	if err != nil {
		b.t.Fatal(err)
	}
	if !strings.Contains(address, "view=table") || !strings.Contains(address, node.name) {
		b.t.Errorf("the address is %s", address)
	}
	b.do("type nonsense", chromedp.SendKeys(chromedp.CSS(".cm-content"), ")"))
	b.click("button", "Run")
	b.see(".msg.error", "parse error")
}

func clusterTab(b *browser) {
	b.click("a", "Cluster")
	b.see("#cluster", "Nodes", "owns", "of which")
	b.do("ask what a join would move", chromedp.SendKeys(chromedp.CSS("input[placeholder='node id']"), "77"))
	b.click("button", "joined")
	b.see("#plan", "join of node 77", "would copy")
	b.picture("cluster")
}

// runningQueries cancels a query that would take minutes: its client is told,
// and it is among the slowest then.
func runningQueries(b *browser, node subject) {
	b.click("a", "Queries")
	b.see("#slow", "took", "evaluation")
	now := time.Now().Unix()
	ended := make(chan string, 1)
	go func() {
		resp, err := http.PostForm(node.URL+"/api/v1/query_range", url.Values{
			"query": {endless()}, "start": {fmt.Sprint(now - 4000)}, "end": {fmt.Sprint(now)}, "step": {"1"}, "timeout": {"2m"},
		})
		if err != nil {
			ended <- err.Error()
			return
		}
		_ = resp.Body.Close()
		ended <- resp.Status
	}()
	b.see("#queries", endless()[:40], "Cancel")
	b.click("button", "Cancel")
	select {
	case answer := <-ended:
		if !strings.Contains(answer, "499") {
			b.t.Errorf("the cancelled query was answered with %.300s", answer)
		}
	case <-time.After(time.Minute):
		b.t.Error("the query goes on a minute after it was cancelled")
	}
	b.see("#queries", "none")
	b.see("#slow", endless()[:40], "cancel")
	b.picture("queries")
}
