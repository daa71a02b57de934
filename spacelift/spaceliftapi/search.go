package spaceliftapi

import (
	"errors"

	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi/internal/operations"
)

const (
	pageSize = 50 // like every official client
	maxPages = 60 // 3,000 stacks; a larger account gets an incomplete Listing
)

// searchPages collects the items of at most this many pages. keep, when set,
// selects items.
func searchPages[T any](pages int, predicates []operations.QueryPredicate, keep func(T) bool,
	page func(operations.SearchInput) ([]T, operations.PageInfo, error),
) (spacelift.Listing[T], error) {
	found := spacelift.Listing[T]{}
	input := operations.SearchInput{First: new(pageSize), Predicates: predicates}
	for range pages {
		items, info, err := page(input)
		if err != nil {
			return spacelift.Listing[T]{}, err
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
		// With a cursor that doesn't move we would read the same page forever.
		if info.EndCursor == nil || *info.EndCursor == "" || input.After != nil && *info.EndCursor == *input.After {
			return spacelift.Listing[T]{}, errors.New("spacelift announced another page without a new cursor")
		}
		input.After = info.EndCursor
	}
	return found, nil
}

// orZero returns a nullable field's value, for fields whose null means the same
// as the zero value.
func orZero[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// orNull returns nil for a zero value, so that the field isn't sent.
func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
