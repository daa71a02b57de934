package server

import (
	"context"
	"strconv"
	"strings"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/spacelift"
)

// ListTimeline returns a page of the run's timeline.
func (h *handlers) ListTimeline(ctx context.Context, req genserver.ListTimelineRequestObject) (genserver.ListTimelineResponseObject, error) {
	c := callOf(ctx)
	status, err := h.run(c.run).status(ctx)
	if err != nil {
		return nil, err
	}
	page, err := pageOfTimeline(c.run, status.Timeline, deref(req.Params.Kind), pageSize(req.Params.PageSize), req.Params.PageToken)
	return genserver.ListTimeline200JSONResponse(page), err
}

// pageOfTimeline returns a page of a timeline. A page token names the last entry of the
// page before by index and digest, so it is found even after entries were inserted or
// dropped before it.
func pageOfTimeline(run spacelift.RunRef, all []managed.TimelineEntry, kind string, size int, token *string) (api.Timeline, error) {
	listing := listingOf("timeline", run.String(), kind)
	place, err := listing.place(token)
	if err != nil {
		return api.Timeline{}, err
	}
	from, err := afterEntry(all, place)
	if err != nil {
		return api.Timeline{}, err
	}
	page := api.Timeline{Entries: []api.TimelineEntry{}}
	last := -1
	for i := from; i < len(all); i++ {
		if kind != "" && string(all[i].Kind) != kind {
			continue
		}
		if len(page.Entries) == size {
			page.NextPageToken = listing.token(strconv.Itoa(last) + "." + entryDigest(all[last]))
			break
		}
		page.Entries = append(page.Entries, toAPITimelineEntry(all[i]))
		last = i
	}
	return page, nil
}

// afterEntry returns the index after the entry that a page token names.
func afterEntry(all []managed.TimelineEntry, place string) (int, error) {
	if place == "" {
		return 0, nil
	}
	index, entry, ok := strings.Cut(place, ".")
	at, err := strconv.Atoi(index)
	if err != nil || !ok || at < 0 {
		return 0, badPageToken("was not issued by this API; leave it out to start from the first page")
	}
	// Entries may have been inserted or dropped; the nearest match is the one that was shown.
	for distance := range max(len(all), at+1) {
		for _, i := range []int{at - distance, at + distance} {
			if i >= 0 && i < len(all) && entryDigest(all[i]) == entry {
				return i + 1, nil
			}
		}
	}
	return 0, nil // the oldest are dropped first, so no entry that remains was shown
}

func entryDigest(e managed.TimelineEntry) string {
	return digest([]byte(e.At.String()), []byte(e.Kind), []byte(e.Summary))
}
