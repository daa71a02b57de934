function (request) {
  // A session's cookie travels by itself, so a change needs what only this page can read.
  const csrf = document.cookie.match(/(?:^|; )(?:__Host-)?gantry_csrf=([^;]+)/);
  if (csrf) request.headers["X-CSRF-Token"] = csrf[1];

  // The security scheme puts what was typed under Authorize into this header.
  const header = Object.keys(request.headers || {}).find((h) => h.toLowerCase() === "x-signature-256");
  const typed = header && request.headers[header];
  if (!typed || typed.startsWith("sha256=")) return request;

  // Browsers keep their own cryptography from pages that came over plain HTTP,
  // as inside a company's network they often do. So here is FIPS 180-4.
  const fraction = (x) => (x - Math.floor(x)) * 2 ** 32 | 0;
  const primes = [];
  for (let n = 2; primes.length < 64; n++) if (primes.every((p) => n % p)) primes.push(n);
  const k = primes.map((p) => fraction(Math.cbrt(p)));
  const rotate = (x, n) => x >>> n | x << 32 - n;
  const sha256 = (message) => {
    const padded = new Uint8Array(Math.ceil((message.length + 9) / 64) * 64);
    padded.set(message);
    padded[message.length] = 0x80;
    const view = new DataView(padded.buffer);
    view.setUint32(padded.length - 4, message.length * 8); // less than 2^32: bodies have at most 1 MiB
    const hash = primes.slice(0, 8).map((p) => fraction(Math.sqrt(p)));
    const w = new Int32Array(64);
    for (let block = 0; block < padded.length; block += 64) {
      let [a, b, c, d, e, f, g, h] = hash;
      for (let t = 0; t < 64; t++) {
        const x = w[t - 15], y = w[t - 2];
        w[t] = t < 16 ? view.getInt32(block + 4 * t) :
          (rotate(y, 17) ^ rotate(y, 19) ^ y >>> 10) + w[t - 7] + (rotate(x, 7) ^ rotate(x, 18) ^ x >>> 3) + w[t - 16];
        const t1 = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + (e & f ^ ~e & g) + k[t] + w[t];
        const t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + (a & b ^ a & c ^ b & c);
        [a, b, c, d, e, f, g, h] = [t1 + t2 | 0, a, b, c, d + t1 | 0, e, f, g];
      }
      [a, b, c, d, e, f, g, h].forEach((x, i) => { hash[i] = hash[i] + x | 0; });
    }
    const sum = new DataView(new ArrayBuffer(32));
    hash.forEach((x, i) => sum.setInt32(4 * i, x));
    return new Uint8Array(sum.buffer);
  };

  // HMAC: RFC 2104.
  const bytes = (text) => new TextEncoder().encode(text);
  const key = new Uint8Array(64);
  const secret = bytes(typed);
  key.set(secret.length > 64 ? sha256(secret) : secret);
  const keyed = (pad, message) => sha256(Uint8Array.from([...key.map((b) => b ^ pad), ...message]));
  const mac = keyed(0x5c, keyed(0x36, bytes(request.body || "")));
  request.headers[header] = "sha256=" + Array.from(mac, (b) => b.toString(16).padStart(2, "0")).join("");
  return request;
}
