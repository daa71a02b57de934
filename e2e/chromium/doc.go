// Package chromium drives a headless Chromium in tests. Its code has the build tag
// browser, because not every machine has one.
package chromium
