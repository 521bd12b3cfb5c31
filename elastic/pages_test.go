package elastic

import (
	"bufio"
	"io"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
)

// A peer shows the run to who has the token, where others can reach it; at an
// address of this machine alone, to everybody.
func TestPage(t *testing.T) {
	for _, tt := range []struct {
		bind  string
		token bool
	}{{"127.0.0.1:0", false}, {"0.0.0.0:0", true}} {
		c := newCluster(t, Samples{Count: 64, Batch: 16, Shard: 4, Epochs: 1})
		c.config = func(_ int, cfg *Config) { cfg.UI = tt.bind }
		pages, free := make(chan string, 1), make(chan struct{})
		c.heard = func(_ *peer, e event) {
			if e.Event == "page" {
				pages <- e.Addr
			}
		}
		c.at = func(*peer, Shard) error {
			<-free
			return nil
		}
		p := c.start(1)
		url := <-pages
		bare, token, _ := strings.Cut(url, "?token=")
		if (token != "") != tt.token || strings.Contains(url, string(c.secret)) || !strings.HasPrefix(url, "http://127.0.0.1:") {
			t.Errorf("%s: the page is at %s", tt.bind, url)
		}
		jar, _ := cookiejar.New(nil)
		browser := &http.Client{Jar: jar}
		if code, _ := visit(t, browser, bare); (code == http.StatusOK) == tt.token {
			t.Errorf("%s without the token: status %d", bare, code)
		}
		for _, at := range []string{url, bare} { // then the browser has it
			if code, text := visit(t, browser, at); code != http.StatusOK || !strings.Contains(text, "<title>ringrun</title>") {
				t.Errorf("%s: status %d: %s", at, code, text)
			}
		}
		live, err := browser.Get(bare + "live")
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(live.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() && !strings.HasPrefix(lines.Text(), "data: ") { // now it is open
		}
		close(free)
		<-p.done
		if p.err != nil {
			t.Error(p.err)
		}
		last := ""
		for lines.Scan() {
			last += lines.Text()
		}
		live.Body.Close()
		if !strings.Contains(last, `"ended":true,`) || !strings.Contains(last, `"steps":4,`) {
			t.Errorf("an open page is told last: %s", last)
		}
		if _, err := browser.Get(bare); err == nil {
			t.Errorf("%s is there when the run is over", bare)
		}
	}
}

func visit(t *testing.T, c *http.Client, url string) (int, string) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// An address that is none is an error at once, not when somebody looks.
func TestPageAddress(t *testing.T) {
	for _, cfg := range []Config{{UI: "7464"}, {Metrics: "nowhere"}} {
		if err := cfg.withDefaults().validate(); err == nil || !strings.Contains(err.Error(), "want host:port") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}
