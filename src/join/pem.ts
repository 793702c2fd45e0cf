export interface PemBlock {
  readonly label: string;
  /** The block as PEM text, lines of 64, final newline. */
  readonly pem: string;
}

/** The PEM blocks of a text, normalised as Go's encoder writes them; anything else in it is skipped. */
export function pemBlocks(text: string): PemBlock[] {
  const out: PemBlock[] = [];
  for (const m of text.matchAll(/-----BEGIN ([A-Z0-9 ]+)-----([^-]*)-----END \1-----/g)) {
    const label = m[1]!;
    const body = m[2]!.replace(/[^\r\n]*:[^\r\n]*/g, '').replace(/\s+/g, '');
    if (!/^[A-Za-z0-9+/]+={0,2}$/.test(body)) continue;
    const lines = body.match(/.{1,64}/g)!.join('\n');
    out.push({ label, pem: `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n` });
  }
  return out;
}

/** Certificates and private keys of a server's answer, apart (old servers send their own key along). */
export function splitCertKey(text: string): { cert: string; key: string } {
  const blocks = pemBlocks(text);
  const isKey = (b: PemBlock) => b.label.endsWith('PRIVATE KEY');
  return {
    cert: blocks
      .filter((b) => !isKey(b))
      .map((b) => b.pem)
      .join(''),
    key: blocks
      .filter(isKey)
      .map((b) => b.pem)
      .join(''),
  };
}
