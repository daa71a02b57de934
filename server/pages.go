package server

import (
	"encoding/base64"
	"strings"
)

const defaultPageSize = 50

func pageSize(given *int) int {
	if given == nil {
		return defaultPageSize
	}
	return *given
}

// listing identifies a list with its filters: a page token of one listing is refused in
// another.
type listing struct{ digest string }

// listingOf returns the listing with this name and these filters, in order.
func listingOf(parts ...string) listing {
	all := make([][]byte, len(parts))
	for i, p := range parts {
		all[i] = []byte(p)
	}
	return listing{digest(all...)[:16]}
}

// token returns a page token for the place where the next page begins, or nil if there is
// none.
func (l listing) token(place string) *string {
	if place == "" {
		return nil
	}
	return new(base64.RawURLEncoding.EncodeToString([]byte(l.digest + place)))
}

// place returns the place in a page token, or nothing if there is no token.
func (l listing) place(token *string) (string, error) {
	if token == nil {
		return "", nil
	}
	text, err := base64.RawURLEncoding.DecodeString(*token)
	if err != nil || len(text) <= len(l.digest) {
		return "", badPageToken("was not issued by this API; leave it out to start from the first page")
	}
	place, ours := strings.CutPrefix(string(text), l.digest)
	if !ours {
		return "", badPageToken("belongs to another list or to other filters; repeat the filters, or leave it out to start from the first page")
	}
	return place, nil
}

func badPageToken(detail string) error {
	return &refusal{badPlaces(parameterError("pageToken", detail))}
}
