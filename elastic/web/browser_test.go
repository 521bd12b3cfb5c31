package web

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/ringrun/ringrun/elastic/web/webtest"
)

// history lets a cast have trained for a while.
func (c *cast) history(seconds int) {
	now := time.Now().UnixMilli()
	for i := range seconds {
		x := float64(i)
		loss, acc := 2.3*math.Exp(-x/80)+0.05*math.Sin(x*1.7), 1-math.Exp(-x/90)
		rate := 31 + 2*math.Sin(x/7) + math.Sin(x*2.1)
		c.points = append(c.points, point{
			Time: now - int64(seconds-i)*1000, Step: uint64(31 * i), Steps: rate, Samples: 128 * rate,
			Observed: map[string]*float64{"loss": &loss, "accuracy": &acc},
		})
	}
	c.step = uint64(31 * seconds)
}

const count = `document.querySelectorAll(%q).length === %d`

// The page draws what the peers are and do, in a real browser.
func TestBrowser(t *testing.T) {
	c := newCast(t, 16)
	c.history(240)
	url := c.serve("")
	b := webtest.Open(t) // last, so that it is gone before the server is
	b.Go(url)
	b.Until(fmt.Sprintf(count, "#ring g.node[data-state=live]", 16))
	b.Until(fmt.Sprintf(count, "#peers tbody tr.live", 16))
	b.Until(fmt.Sprintf(count, "#charts path.line", 4))
	b.Until(`document.querySelector('.chart[data-name=Throughput] .unit').textContent === 'samples/s'`)
	b.Until(`[...document.querySelectorAll('#charts path.line')].every(p => p.getAttribute('d').split('L').length > 200)`)
	b.Until(`document.querySelectorAll('#events li i').length === 2 && document.querySelector('#link').textContent === 'live'`)
	b.Until(`document.querySelectorAll('#peers .bar rect').length > 16 * 4`) // shares of the last seconds
	b.Shot("sixteen-light")

	c.mu.Lock()
	c.actors[0].slow = []map[string]any{{"id": c.actors[7].id, "factor": 1.62, "cause": "other load"}}
	for _, a := range c.actors {
		a.stuck = time.Now().Add(-3 * time.Second)
	}
	c.actors[5].phase = "computing"
	c.mu.Unlock()
	b.Until(fmt.Sprintf(count, "#ring .halo", 1) + ` && document.querySelector('#ring .warn').textContent === 'all wait for p5'`)
	b.Until(fmt.Sprintf(count, "#ring line.wait", 15))
	b.Until(`document.querySelector('#peers tbody').innerText.includes('1.6 × as long: other load')`)
	b.Shot("blocked-light")

	c.actors[5].kill()
	b.Until(`document.querySelector('#ring g[data-id="` + c.actors[5].id + `"]').dataset.state === 'silent'`)
	b.Until(`document.querySelector('#alarm').innerText.startsWith('No answer from p5')`)
	c.leave(5, false)
	b.Until(`document.querySelector('#ring g[data-state=lost]') !== null && document.querySelector('#alarm').hidden`)
	b.Until(`document.querySelector('#events li.bad').innerText.includes('p5 was lost')`)
	b.Scheme("dark")
	b.Shot("sixteen-dark")
	b.Click("#theme")
	b.Until(`document.documentElement.dataset.theme === 'light' && getComputedStyle(document.body).backgroundColor === 'rgb(244, 246, 249)'`)
	b.Click("#theme")
	b.Until(`getComputedStyle(document.body).backgroundColor === 'rgb(16, 20, 27)'`)
}

// A page whose server has gone finds the next one at the same address.
func TestBrowserReconnects(t *testing.T) {
	c := newCast(t, 2)
	c.history(5)
	first, addr := c.serveAt(fmt.Sprintf("127.0.0.1:%d", webtest.FreePorts(t, 1)))
	b := webtest.Open(t)
	b.Go("http://" + addr)
	b.Until(fmt.Sprintf(count, "#ring g.node", 2))
	first.Close()
	b.Until(`document.querySelector('#link').className === 'pill off'`)
	second, _ := c.serveAt(addr)
	b.Until(`document.querySelector('#link').className === 'pill on'`)
	b.Until(fmt.Sprintf(count, "#events li i", 2)) // nothing is told twice
	c.over.Store(true)
	second.Close()
	b.Until(`document.querySelector('#link').textContent === 'ended' && document.querySelector('#ring .big').textContent === 'ended'`)
	b.Until(fmt.Sprintf(count, "#ring .torn", 0) + " && " + fmt.Sprintf(count, "#ring g[data-state=ended]", 2))
	b.Until(fmt.Sprintf(count, "#charts .chart", 4))
	newCast(t, 3).serveAt(addr) // another run, which observes nothing
	b.Until(fmt.Sprintf(count, "#charts .chart", 2) + " && " + fmt.Sprintf(count, "#ring g[data-state=live]", 3))
	b.Go("about:blank")
	b.Complaints() // that nobody answered for a while
}

// However many peers there are, each has an arrow to the next, and no other.
func TestBrowserArrows(t *testing.T) {
	b := webtest.Open(t)
	for _, n := range []int{2, 8, 24, 64} {
		b.Go(newCast(t, n).serve(""))
		b.Until(fmt.Sprintf(count, "#ring g.node[data-state=live]", n))
		b.Until(fmt.Sprintf(count, "#ring path.tip", n))
		b.Until(fmt.Sprintf(`[...document.querySelectorAll('#ring path.edge')].every(e => e.getTotalLength() > 2 && e.getTotalLength() < %g)`, 2*math.Pi*250/float64(n)))
		b.Shot(fmt.Sprint("arrows-", n))
		b.Go("about:blank") // before the server goes
	}
}

// What is drawn twice a second does not disturb who looks: what is selected stays
// selected, and what moves goes on moving.
func TestBrowserSteady(t *testing.T) {
	c := newCast(t, 3)
	c.history(20)
	url := c.serve("")
	b := webtest.Open(t)
	b.Go(url)
	b.Until(fmt.Sprintf(count, "#ring path.flow", 3))
	b.Until(`getSelection().selectAllChildren(document.querySelectorAll('#peers td.addr')[1]), getSelection().toString() === '` + c.actors[1].addr + `'`)
	b.Until(`document.getAnimations().some(a => a.effect.getComputedTiming().progress > 0.9)`)
	c.join()
	b.Until(fmt.Sprintf(count, "#peers tbody tr.live", 4))
	if !b.Eval(`getSelection().toString() === '` + c.actors[1].addr + `'`) {
		t.Error("the selected address is no longer selected")
	}
	c.actors[3].kill()
	b.Until(`document.querySelector('#alarm').innerText === 'No answer from p3: nobody listens at its address'`)
	b.Until(`window.word = document.querySelector('#alarm').firstChild, window.up = document.querySelector('#facts').innerText, true`)
	b.Until(`document.querySelector('#facts').innerText !== window.up`) // drawn anew
	if !b.Eval(`document.querySelector('#alarm').firstChild === window.word`) {
		t.Error("the alarm is read out again")
	}
	c.leave(3, false)
	b.Until(fmt.Sprintf(count, "#peers tbody tr.lost", 1))
}

// One more peer, started by hand, is called p0 as well: the two are told apart.
func TestBrowserNamesakes(t *testing.T) {
	c := newCast(t, 3)
	c.actors[1].id = "p0-8183ae2f"
	url := c.serve("")
	b := webtest.Open(t)
	b.Go(url)
	names := `[...document.querySelectorAll('#ring .name')].map(e => e.textContent).join() === `
	b.Until(names + `'p0-00,p0-8183ae2f,p2'`)
	b.Until(`[...document.querySelectorAll('#ring .name')].every(e => e.getBBox().width < 78)`)
	b.Shot("namesakes")
	c.leave(1, false)
	b.Until(`[...document.querySelectorAll('#events li.bad')].some(li => li.innerText.includes('p0-8183ae2f was lost'))`)
}

// Where a step takes a minute, the charts show ten hours, and their axis can be read.
func TestBrowserLongSteps(t *testing.T) {
	c := newCast(t, 1)
	c.history(600)
	for i := range c.points {
		c.points[i].Time -= int64(599-i) * 59_000
	}
	url := c.serve("")
	b := webtest.Open(t)
	b.Go(url)
	labels := `[...document.querySelectorAll('.chart[data-name=Throughput] text')].map(e => e.textContent)`
	b.Until(labels + `.filter(s => s.startsWith('−') || s === 'now').join() === 'now,−2 h,−4 h,−6 h,−8 h'`)
}
