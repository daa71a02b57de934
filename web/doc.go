// Package web is Gantry's pages for people: server-rendered HTML that works without
// JavaScript, and is live with it.
//
// A page is a handler in <page>.go and a template in <page>.templ. It reads and changes
// through the API alone, which it calls inside the process as its caller, so a page can
// never show or do what the API would refuse.
package web
