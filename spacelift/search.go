package spacelift

import (
	"errors"

	"github.com/gantryhq/gantry/spacelift/internal/operations"
)

const (
	pageSize = 50 // what every official client asks for
	maxPages = 60 // 3,000 stacks; an account beyond that gets an incomplete Listing
)

// Listing is what a search found.
type Listing[T any] struct {
	Items    []T
	Complete bool // false when the search stopped at its bound: there may be more
}

// searchPages collects the items of at most pages pages. keep, when set, picks
// the ones wanted.
func searchPages[T any](pages int, predicates []operations.QueryPredicate, keep func(T) bool,
	page func(operations.SearchInput) ([]T, operations.PageInfo, error),
) (Listing[T], error) {
	found := Listing[T]{}
	input := operations.SearchInput{First: new(pageSize), Predicates: predicates}
	for range pages {
		items, info, err := page(input)
		if err != nil {
			return Listing[T]{}, err
		}
		for _, item := range items {
			if keep == nil || keep(item) {
				found.Items = append(found.Items, item)
			}
		}
		if !info.HasNextPage {
			found.Complete = true
			return found, nil
		}
		// A cursor that doesn't move would have us read the same page for ever.
		if info.EndCursor == nil || *info.EndCursor == "" || input.After != nil && *info.EndCursor == *input.After {
			return Listing[T]{}, errors.New("spacelift promises another page but gives no new cursor for it")
		}
		input.After = info.EndCursor
	}
	return found, nil
}

// orZero reads a nullable field whose null means the same as its zero value.
func orZero[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// orNull sends nothing for a zero value.
func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
