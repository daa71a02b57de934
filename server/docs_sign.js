async function (request) {
  // The security scheme puts what was typed under Authorize into this header.
  const header = Object.keys(request.headers || {}).find((h) => h.toLowerCase() === "x-signature-256");
  const typed = header && request.headers[header];
  if (!typed || !typed.startsWith("secret:")) return request;
  const bytes = new TextEncoder();
  const key = await crypto.subtle.importKey("raw", bytes.encode(typed.slice("secret:".length)), {name: "HMAC", hash: "SHA-256"}, false, ["sign"]);
  const mac = await crypto.subtle.sign("HMAC", key, bytes.encode(request.body || ""));
  request.headers[header] = "sha256=" + Array.from(new Uint8Array(mac), (b) => b.toString(16).padStart(2, "0")).join("");
  return request;
}
