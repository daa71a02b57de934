package web

import (
	"net/http"
	"net/url"
	"time"

	_ "time/tzdata" // viewers choose any time zone, and images have no database of them
)

// zoneCookie holds the time zone of a viewer's browser, which a script sets.
const zoneCookie = "gantry_zone"

// zoneOf returns the time zone to show times in: the one that the address asks for, or the
// one of the viewer's browser, or UTC. asked reports whether the address asks for one; bad
// is one that doesn't exist.
func zoneOf(r *http.Request) (zone *time.Location, asked bool, bad string) {
	if name := r.URL.Query().Get("zone"); name != "" {
		if zone, ok := loadZone(name); ok {
			return zone, true, ""
		}
		bad = name
	}
	return browserZone(r), false, bad
}

// browserZone returns the time zone of the viewer's browser; UTC before a script has sent it.
func browserZone(r *http.Request) *time.Location {
	if cookie, err := r.Cookie(zoneCookie); err == nil {
		if name, err := url.QueryUnescape(cookie.Value); err == nil {
			if zone, ok := loadZone(name); ok {
				return zone
			}
		}
	}
	return time.UTC
}

func loadZone(name string) (*time.Location, bool) {
	if name == "" || name == "Local" || len(name) > 64 {
		return nil, false
	}
	zone, err := time.LoadLocation(name)
	return zone, err == nil
}

// commonZones are suggested to viewers.
var commonZones = []string{
	"UTC", "Europe/London", "Europe/Berlin", "Europe/Helsinki", "Asia/Dubai", "Asia/Kolkata", "Asia/Singapore", "Asia/Tokyo", "Australia/Sydney",
	"America/Sao_Paulo", "America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles",
}
