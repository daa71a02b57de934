package server_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/inbox"
	"github.com/gantryhq/gantry/server"
	"github.com/gantryhq/gantry/spacelift"
)

// replica is a server that other replicas reach.
type replica struct {
	*rig
	http *httptest.Server
}

// newReplicas starts replicas named gantry-0 and so on that know each other and, like
// behind the name of a headless Service, themselves.
func newReplicas(t *testing.T, n int, more ...string) []replica {
	t.Helper()
	all, addresses := make([]replica, n), more
	for i := range all {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		all[i].http = &httptest.Server{Listener: l, Config: &http.Server{}}
		addresses = append(addresses, "http://"+l.Addr().String())
	}
	for i := range all {
		all[i].rig = newRig(t, func(c *server.Config) { c.Replica, c.Peers = fmt.Sprintf("gantry-%d", i), addresses })
		all[i].http.Config.Handler = all[i].handler
		all[i].http.Start()
		t.Cleanup(all[i].http.Close)
	}
	return all
}

// list returns a page of deliveries.
func (r *rig) list(query string, headers ...string) api.DeliveryList {
	r.t.Helper()
	w := r.send(http.MethodGet, "/v1/deliveries"+query, "", append(headers, "Authorization", "Bearer "+viewerToken)...)
	if w.Code != http.StatusOK {
		r.t.Fatalf("list deliveries: %d %s", w.Code, w.Body)
	}
	return decode[api.DeliveryList](r.t, w)
}

// namesOf returns the names of replicas.
func namesOf(replicas []api.Replica) (names []string) {
	for _, r := range replicas {
		names = append(names, r.Name)
	}
	return names
}

// Each replica lists the deliveries of all, in one order, whatever the size of a page.
func TestDeliveriesOfAllReplicas(t *testing.T) {
	t.Parallel()
	replicas := newReplicas(t, 3)
	var want []string
	for n := range 20 {
		r := replicas[n%3]
		want = append(want, r.receipt(example(t, "internal_error")).Delivery)
	}
	slices.Sort(want)
	slices.Reverse(want)
	for i, r := range replicas {
		for _, size := range []int{1, 7, 10, 20, 50} {
			var got []string
			var list api.DeliveryList
			for query := fmt.Sprintf("?pageSize=%d&outcome=ignored", size); ; {
				list = r.list(query)
				for _, d := range list.Deliveries {
					got = append(got, d.ID)
				}
				if list.NextPageToken == nil {
					break
				}
				// Behind a load balancer, any replica gets the next page.
				query, r = fmt.Sprintf("?pageSize=%d&outcome=ignored&pageToken=%s", size, *list.NextPageToken), replicas[len(got)%3]
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("replica %d by %d (-want +got):\n%s", i, size, diff)
			}
		}
	}
	list := replicas[1].list("")
	if diff := cmp.Diff([]string{"gantry-1", "gantry-0", "gantry-2"}, namesOf(list.Replicas)); diff != "" {
		t.Errorf("the list names other replicas (-want +got):\n%s", diff)
	}
	for _, d := range list.Deliveries {
		for _, r := range list.Replicas {
			if r.Problem != nil || (r.Name == d.Replica) != strings.HasSuffix(d.ID, *r.ID) {
				t.Errorf("delivery %s of %s, by the list of replica %s %s", d.ID, d.Replica, r.Name, *r.ID)
			}
		}
	}
	alone := replicas[1].list("", "Gantry-Peer", "someone")
	if names := namesOf(alone.Replicas); len(names) != 1 || names[0] != "gantry-1" || len(alone.Deliveries) != 7 {
		t.Errorf("asked alone, it lists %d deliveries of %s", len(alone.Deliveries), names)
	}
	if list := replicas[0].list("?reason=no-such"); len(list.Deliveries) != 0 || list.NextPageToken != nil || len(list.Replicas) != 3 {
		t.Errorf("a filter that nothing fits: %s", show(list))
	}
}

// Without peers, a list says that it is that of one replica, and which.
func TestDeliveriesOfOneReplica(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *server.Config) { c.Replica = "gantry-0" })
	id := r.receipt(example(t, "internal_error")).Delivery
	list := r.list("")
	if len(list.Replicas) != 1 || list.Replicas[0].Name != "gantry-0" || !strings.HasSuffix(id, *list.Replicas[0].ID) || list.Deliveries[0].Replica != "gantry-0" {
		t.Errorf("the list says: %s", show(list))
	}
	if list := newRig(t).list(""); list.Replicas[0].Name == "" {
		t.Error("a replica without a configured name has none")
	}
}

// A delivery is shown and forwarded again by the replica that has it, whichever is asked.
func TestDeliveryOfAnotherReplica(t *testing.T) {
	t.Parallel()
	replicas := newReplicas(t, 3)
	asked, owner := replicas[0], replicas[2]
	body := example(t, "run_tracked_unconfirmed")
	accepted, ignored := owner.receipt(body).Delivery, owner.receipt(example(t, "internal_error")).Delivery

	w := asked.get("/v1/deliveries/"+accepted, viewerToken)
	if detail := decode[api.DeliveryDetail](t, w); w.Code != http.StatusOK || detail.Delivery.ID != accepted || detail.Delivery.Replica != "gantry-2" || *detail.Body != body {
		t.Errorf("show: %d %s", w.Code, w.Body)
	}
	redeliver := func(id, token string, headers ...string) *httptest.ResponseRecorder {
		return asked.send(http.MethodPost, "/v1/deliveries/"+id+"/redeliveries", "", append(headers, "Authorization", "Bearer "+token)...)
	}
	wantProblem(t, redeliver(accepted, viewerToken), http.StatusForbidden, "forbidden")
	for range 2 {
		if w := redeliver(accepted, operatorToken, "Idempotency-Key", "once", "X-Request-Id", "traced"); w.Code != http.StatusAccepted || decode[api.Delivery](t, w).ID != accepted {
			t.Errorf("redeliver: %d %s", w.Code, w.Body)
		}
	}
	// The key is known to the replica that has the delivery, so its repeat may reach that one directly.
	if w := owner.post(operatorToken, "/v1/deliveries/"+accepted+"/redeliveries", ``, keyed("once")...); w.Code != http.StatusAccepted {
		t.Errorf("a repeat at the owner: %d %s", w.Code, w.Body)
	}
	wantProblem(t, redeliver(ignored, operatorToken, "Idempotency-Key", "once"), http.StatusUnprocessableEntity, "idempotency-key-reused")
	wantProblem(t, redeliver(ignored, operatorToken), http.StatusConflict, "not-redeliverable")
	wantProblem(t, redeliver("01KDX4A7B3C5D7E9F1G3H5J7K9", operatorToken), http.StatusNotFound, "not-found")
	wantProblem(t, asked.send(http.MethodGet, "/v1/deliveries/"+accepted, "", "Authorization", "Bearer "+viewerToken, "Gantry-Peer", "someone"), http.StatusNotFound, "not-found")
	for _, r := range []replica{asked, owner} {
		if lines := r.log.entries(t, "change"); len(lines) == 0 || lines[0]["by"] != "otto" || lines[0]["requestId"] != "traced" {
			t.Errorf("the log doesn't say who redelivered: %v", lines)
		}
	}
}

// A replica that doesn't answer is named, and what only it may have is not called missing.
func TestReplicaIsAway(t *testing.T) {
	t.Parallel()
	replicas := newReplicas(t, 3)
	here, there := replicas[0].receipt(example(t, "internal_error")).Delivery, replicas[2].receipt(example(t, "internal_error")).Delivery
	address := replicas[2].http.Listener.Addr().String()
	replicas[2].http.Close()

	list := replicas[0].list("")
	if len(list.Deliveries) != 1 || list.Deliveries[0].ID != here {
		t.Errorf("it lists %s", show(list.Deliveries))
	}
	i := slices.IndexFunc(list.Replicas, func(r api.Replica) bool { return r.Name == address })
	if len(list.Replicas) != 3 || i < 0 || list.Replicas[i].Problem == nil || !strings.Contains(*list.Replicas[i].Problem, "refused") || list.Replicas[i].ID != nil {
		t.Errorf("the list says of replicas: %s", show(list.Replicas))
	}
	w := replicas[0].get("/v1/deliveries/"+there, viewerToken)
	if p := wantProblem(t, w, http.StatusServiceUnavailable, "replica-unavailable"); !strings.Contains(*p.Detail, address) || w.Header().Get("Retry-After") == "" {
		t.Errorf("%v %s", w.Header(), w.Body)
	}
	wantProblem(t, replicas[0].post(operatorToken, "/v1/deliveries/"+there+"/redeliveries", ``), http.StatusServiceUnavailable, "replica-unavailable")
	// This replica knows its own: an id of its that it doesn't have is gone.
	wantProblem(t, replicas[0].get("/v1/deliveries/00000000000000"+here[14:], viewerToken), http.StatusNotFound, "not-found")
}

// deadInbox is an inbox with so many dead deliveries.
type deadInbox struct {
	*inbox.Inbox
	dead int
}

func (d *deadInbox) RedeliverDead(context.Context, func(spacelift.RunRef, string) bool) (int, error) {
	n := d.dead
	d.dead = 0
	return n, nil
}

func TestRedeliverDeadOfAllReplicas(t *testing.T) {
	t.Parallel()
	replicas := newReplicas(t, 2)
	addresses := []string{"http://" + replicas[0].http.Listener.Addr().String(), "http://" + replicas[1].http.Listener.Addr().String()}
	for i, r := range replicas {
		cfg := ordinary()
		cfg.Replica, cfg.Peers = fmt.Sprintf("gantry-%d", i), addresses
		r.handler = r.serveWith(cfg, &deadInbox{r.inbox, 3 + i})
		r.http.Config.Handler = r.handler
	}
	w := replicas[1].post(operatorToken, "/v1/redeliveries", ``)
	if count := decode[api.RedeliveryCount](t, w); w.Code != http.StatusAccepted || count.Redelivered != 7 || len(count.Replicas) != 2 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	replicas[0].http.Close()
	w = replicas[1].post(operatorToken, "/v1/redeliveries", ``)
	if count := decode[api.RedeliveryCount](t, w); w.Code != http.StatusAccepted || count.Redelivered != 0 || len(count.Replicas) != 2 || count.Replicas[1].Problem == nil {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// Whatever answers at a peer's address, the list comes in time, says what is wrong there,
// and sends the caller's token nowhere else.
func TestStrangePeers(t *testing.T) {
	t.Parallel()
	stolen := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("a request with %q went where a peer redirected it", r.Header.Get("Authorization"))
	}))
	t.Cleanup(stolen.Close)
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	stranger := func(answer http.HandlerFunc) string {
		s := httptest.NewServer(answer)
		t.Cleanup(s.CloseClientConnections)
		return s.URL
	}
	others := newReplicas(t, 1)
	strangers := map[string]string{ // by address, a word of the problem
		stranger(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, stolen.URL, http.StatusFound) }): "302",
		stranger(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }):                           "not an answer of Gantry",
		stranger(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"deliveries":[]}`) }):                "not an answer of Gantry",
		stranger(func(http.ResponseWriter, *http.Request) { <-stop }):                                                "within 3s",
	}
	other := newRig(t, func(c *server.Config) { c.Tokens = c.Tokens[1:] })
	strange := httptest.NewServer(other.handler)
	t.Cleanup(strange.Close)
	strangers[strange.URL] = "401: Missing or invalid token"

	r := newReplicas(t, 1, append(slices.Collect(maps.Keys(strangers)), "http://"+others[0].http.Listener.Addr().String())...)[0]
	others[0].receipt(example(t, "internal_error"))
	list := r.list("")
	if len(list.Deliveries) != 1 || len(list.Replicas) != 2+len(strangers) {
		t.Errorf("it lists %s", show(list))
	}
	for address, word := range strangers {
		i := slices.IndexFunc(list.Replicas, func(r api.Replica) bool { return "http://"+r.Name == address })
		if i < 0 || list.Replicas[i].Problem == nil || !strings.Contains(*list.Replicas[i].Problem, word) {
			t.Errorf("%s is not said to be wrong with %q: %s", address, word, show(list.Replicas))
		}
	}
	wantProblem(t, r.get("/v1/deliveries/01KDX4A7B3C5D7E9F1G3H5J7K9", viewerToken), http.StatusServiceUnavailable, "replica-unavailable")
}

func TestPeersAreAddresses(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"http://gantry-headless:8080", "https://gantry.internal", "http://[fd00::1]:8080/", "http://10.0.0.1:8080"} {
		if _, err := server.ParsePeer(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "gantry-headless:8080", "10.0.0.1", "ftp://x", "http://", "http://x/path", "http://x?a=b", "http://user@x", "http://x:port"} {
		if _, err := server.ParsePeer(bad); err == nil || !strings.Contains(err.Error(), "http://gantry-headless:8080") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
