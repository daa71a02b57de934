package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"golang.org/x/sync/errgroup"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/temporalserver"
)

// Open pages, the people who have them open, and what the pages may cost.
const (
	openPageCount = 200
	readerCount   = 20 // a token has ten streams
	pageEvents    = 5
	renewalDelay  = 300 * time.Millisecond // of Live in web/parts.templ
	openPagesMB   = 60
	renewalTime   = time.Second
)

// openPages has 200 pages open that show which runs wait. It measures what they cost, and
// how long after a change of a run they show it.
func (b *bench) openPages(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "gantry-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	temporal, err := temporalserver.Start(ctx, temporalserver.Options{SearchAttributes: temporalserver.Keywords(managed.SearchAttributes()...)})
	if err != nil {
		return err
	}
	defer temporal.Stop()
	c, err := client.DialContext(ctx, client.Options{HostPort: temporal.HostPort(), Logger: log.NewStructuredLogger(b.log)})
	if err != nil {
		return err
	}
	defer c.Close()
	sim, api := startSpacelift()
	defer sim.Close()
	defer api.Close()
	config := filepath.Join(dir, "gantry.yaml")
	tokens := []byte("reconcile: {interval: 0s}\ntokens:\n")
	for i := range readerCount {
		tokens = fmt.Appendf(tokens, "  - {name: reader%d, role: approver, groups: [platform], hash: %s}\n", i, authority.TokenHash(readerToken(i)))
	}
	if err := os.WriteFile(config, tokens, 0o600); err != nil {
		return err
	}
	fmt.Println("| Waiting runs | Memory of 200 open pages | … target < 60 MB | Event to page: median | … slowest | … target < 1 s | Change to page: median | … slowest | Processor time of a page | Lists of Temporal for an event |")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	started := 0
	for _, waiting := range []int{20, waitingRuns} {
		for ; started < waiting; started++ {
			if err := startWaiting(ctx, c, started); err != nil {
				return err
			}
		}
		gantry, err := b.startGantry(ctx, filepath.Join(dir, strconv.Itoa(waiting)), temporal.HostPort(), api.URL, "--config", config)
		if err != nil {
			return err
		}
		err = measureOpenPages(ctx, c, gantry, waiting)
		gantry.stop()
		if err != nil {
			return err
		}
		started += pageEvents
	}
	return nil
}

func readerToken(i int) string {
	return fmt.Sprintf("bench-token-of-a-person-who-reads-pages-%d", i%readerCount)
}

// measureOpenPages changes runs while pages are open.
func measureOpenPages(ctx context.Context, c client.Client, gantry *program, waiting int) error {
	pages := newOpenPages(gantry.address, waiting)
	for range 20 { // warm
		if _, err := pages.load(ctx, 0); err != nil {
			return err
		}
	}
	before, err := gantry.resident()
	if err != nil {
		return err
	}
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	if err := pages.open(ctx); err != nil {
		return err
	}
	calls, err := temporalCalls(ctx, gantry)
	rested, errTime := gantry.processorTime()
	if err := errors.Join(err, errTime); err != nil {
		return err
	}
	peak := before.all
	var heard, shown []time.Duration // since the event came, and since the change
	for i := range pageEvents {
		if err := startWaiting(ctx, c, waiting+i); err != nil {
			return err
		}
		changed := time.Now()
		for range openPageCount {
			r, err := pages.next()
			now, errMemory := gantry.resident()
			if err := errors.Join(err, errMemory); err != nil {
				return err
			}
			heard, shown, peak = append(heard, r.shown.Sub(r.heard)), append(shown, r.shown.Sub(changed)), max(peak, now.all)
		}
	}
	worked, err := gantry.processorTime()
	after, errCalls := temporalCalls(ctx, gantry)
	if err := errors.Join(err, errCalls); err != nil {
		return err
	}
	slices.Sort(heard)
	slices.Sort(shown)
	last := len(heard) - 1
	fmt.Printf("| %d | %.0f MB over %.0f MB | %s | %s | %s | %s | %s | %s | %s | %d |\n", waiting,
		peak-before.all, before.all, verdict(peak-before.all < openPagesMB), round(heard[last/2]), round(heard[last]), verdict(heard[last] < renewalTime),
		round(shown[last/2]), round(shown[last]), round((worked-rested)/time.Duration(len(heard))), (after-calls)/pageEvents)
	return nil
}

// openPages are pages that browsers have open.
type openPages struct {
	address  string
	client   *http.Client
	waiting  int // runs that wait when the pages are opened; the next ones change
	renewals chan renewal
}

// renewal is the renewal of one page after an event.
type renewal struct {
	heard, shown time.Time // when the event came, and when the page was loaded
	err          error
}

func newOpenPages(address string, waiting int) *openPages {
	transport := &http.Transport{MaxIdleConnsPerHost: 2 * openPageCount, DisableCompression: true}
	return &openPages{address: "http://" + address, waiting: waiting, client: &http.Client{Transport: transport}, renewals: make(chan renewal, openPageCount)}
}

// next returns the next renewal of a page.
func (p *openPages) next() (renewal, error) {
	select {
	case r := <-p.renewals:
		return r, r.err
	case <-time.After(time.Minute):
		return renewal{}, errors.New("a page did not renew itself")
	}
}

// get sends a request as a browser of a person does.
func (p *openPages) get(ctx context.Context, path string, page int) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.address+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+readerToken(page))
	req.Header.Set("Accept-Encoding", "gzip")
	res, err := p.client.Do(req)
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.Join(fmt.Errorf("load %s: %s", path, res.Status), res.Body.Close())
	}
	return res, err
}

// load loads a page, and returns when it is complete.
func (p *openPages) load(ctx context.Context, page int) (time.Time, error) {
	res, err := p.get(ctx, "/", page)
	if err != nil {
		return time.Time{}, err
	}
	defer res.Body.Close() //nolint:errcheck // it was read
	_, err = io.Copy(io.Discard, res.Body)
	return time.Now(), err
}

// open opens all pages. Each of them renews itself after an event, until the context ends.
func (p *openPages) open(ctx context.Context) error {
	var opening errgroup.Group
	opening.SetLimit(8)
	for i := range openPageCount {
		opening.Go(func() error {
			if _, err := p.load(ctx, i); err != nil {
				return err
			}
			stream, err := p.get(ctx, "/v1/events", i) //nolint:bodyclose // renew closes it
			if err != nil {
				return err
			}
			events := bufio.NewScanner(stream.Body)
			for events.Scan() && !strings.HasPrefix(events.Text(), "event: ready") {
			}
			go p.renew(ctx, i, stream.Body, events)
			return events.Err()
		})
	}
	return opening.Wait()
}

// renew loads a page again after each change. Further events about the same run don't count.
func (p *openPages) renew(ctx context.Context, page int, stream io.Closer, events *bufio.Scanner) {
	defer stream.Close() //nolint:errcheck // it was read
	for next := p.waiting; events.Scan(); {
		if !strings.HasPrefix(events.Text(), "data: ") || !strings.Contains(events.Text(), string(waitingRun(next).Run.Run)) {
			continue
		}
		next++
		r := renewal{heard: time.Now()}
		select {
		case <-time.After(renewalDelay):
		case <-ctx.Done():
			return
		}
		r.shown, r.err = p.load(ctx, page)
		p.renewals <- r
	}
}

var listCalls = regexp.MustCompile(`(?m)^temporal_request_total\{[^}]*operation="ListWorkflowExecutions"[^}]*\} (\d+)`)

// temporalCalls returns how often a process has listed executions so far.
func temporalCalls(ctx context.Context, gantry *program) (total int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+gantry.ops+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close() //nolint:errcheck // it was read
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	for _, m := range listCalls.FindAllSubmatch(text, -1) {
		n, err := strconv.Atoi(string(m[1]))
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}
