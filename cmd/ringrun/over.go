package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/ringrun/ringrun/membership"
)

// wordEvery is how often workers that still run are told that the run has ended.
const wordEvery = time.Second

// spread tells the workers that still run how it has ended, as another one has
// reported. Whoever does its last step hears it from the others; one that was
// stopped, or cut off, finds nobody when it comes back.
func (j *job) spread(e membership.End) {
	if j.spreading || e.Epoch == 0 {
		return
	}
	j.spreading = true
	client, err := membership.ControlClient(j.cred.secret, j.cred.run())
	if err != nil {
		j.out.note("workers that come back late cannot be told that the run has ended: %v", err)
		return
	}
	path := "/over?" + url.Values{"group": {e.Group}, "epoch": {fmt.Sprint(e.Epoch)}, "steps": {fmt.Sprint(e.Steps)}}.Encode()
	var again func()
	again = func() {
		for _, p := range j.peers {
			if p.state == running && p.addr != "" && !j.views.finished[p.id] && p.hearing.CompareAndSwap(false, true) {
				addr := p.addr
				j.dialers.Go(func() {
					defer p.hearing.Store(false)
					tellOver(j.life, client, addr, path)
				})
			}
		}
		j.agenda.after(wordEvery, again)
	}
	j.agenda.after(wordEvery, again)
}

// tellOver tells one worker. If it does not hear it, it is told again.
func tellOver(ctx context.Context, client *http.Client, addr, path string) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+path, nil)
	if err != nil {
		return
	}
	if resp, err := client.Do(req); err == nil {
		resp.Body.Close()
	}
}
