import { randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto';

const COST = 15;
const KEY_LENGTH = 64;

/** A password hash in k3s's text form: `$1:<salt hex>:15:8:1:<base64 without padding>`. */
export async function createHash(password: string): Promise<string> {
  const salt = randomBytes(8);
  const key = await derive(password, salt, { cost: COST, r: 8, p: 1, length: KEY_LENGTH });
  return `$1:${salt.toString('hex')}:${COST}:8:1:${key.toString('base64').replace(/=+$/, '')}`;
}

export async function verifyHash(hash: string, password: string): Promise<boolean> {
  const m = /^\$1:([0-9a-f]+):(\d+):(\d+):(\d+):([A-Za-z0-9+/]+)$/.exec(hash);
  if (!m) return false;
  const [, salt = '', cost, r, p, encoded = ''] = m;
  const expected = Buffer.from(encoded, 'base64');
  const parameters = { cost: Number(cost), r: Number(r), p: Number(p), length: expected.length };
  return timingSafeEqual(await derive(password, Buffer.from(salt, 'hex'), parameters), expected);
}

function derive(
  password: string,
  salt: Buffer,
  { cost, r, p, length }: { cost: number; r: number; p: number; length: number },
): Promise<Buffer> {
  const options: ScryptOptions = { N: 2 ** cost, r, p, maxmem: 256 * 2 ** cost * r };
  return new Promise((resolve, reject) =>
    scrypt(password, salt, length, options, (error, key) => (error ? reject(error) : resolve(key))),
  );
}
