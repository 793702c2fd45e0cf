import { readFileSync } from 'node:fs';
import { Agent, type RequestOptions, request } from 'node:https';
import { parse } from 'yaml';

/** The API server of a kubeconfig's first cluster, as its first user. */
export interface Api {
  /** Resolves with the decoded answer; rejects on a status of 400 and above. */
  call<T>(method: string, path: string, body?: unknown): Promise<T>;
  /** An answer that is not JSON, such as a pod's log; undefined on a status of 400 and above. */
  text(path: string): Promise<string | undefined>;
  /** Watches a list's path. Resolves once the server has accepted; `ended` is called if it stops by itself. */
  watch<T>(path: string, listener: (event: WatchEvent<T>) => void, ended: (error: Error) => void): Promise<void>;
  close(): void;
}

export interface WatchEvent<T> {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  object: T;
}

interface Kubeconfig {
  clusters: { cluster: { server: string; 'certificate-authority-data'?: string } }[];
  users: { user: { 'client-certificate-data'?: string; 'client-key-data'?: string; token?: string } }[];
}

export function openApi(kubeconfig: string): Api {
  const config = parse(readFileSync(kubeconfig, 'utf8')) as Kubeconfig;
  const cluster = config.clusters[0]?.cluster;
  const user = config.users[0]?.user;
  if (!cluster || !user) throw new Error(`${kubeconfig}: no cluster or no user in it`);
  const pem = (text: string) => Buffer.from(text, 'base64').toString();
  const agent = new Agent({
    keepAlive: true,
    maxSockets: 20,
    ...(cluster['certificate-authority-data'] ? { ca: pem(cluster['certificate-authority-data']) } : {}),
    ...(user['client-certificate-data'] ? { cert: pem(user['client-certificate-data']) } : {}),
    ...(user['client-key-data'] ? { key: pem(user['client-key-data']) } : {}),
  });
  const options = (method: string): RequestOptions => ({
    method,
    agent,
    headers: {
      'content-type': 'application/json',
      accept: 'application/json',
      ...(user.token ? { authorization: `Bearer ${user.token}` } : {}),
    },
  });

  function fetchText(method: string, path: string, body?: unknown): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const sent = request(cluster?.server + path, options(method), (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text })).on('error', reject);
      });
      sent.on('error', reject).end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  return {
    async call<T>(method: string, path: string, body?: unknown) {
      const { status, text } = await fetchText(method, path, body);
      if (status >= 400) throw new Error(`${method} ${path}: ${status} ${messageOf(text)}`);
      return JSON.parse(text) as T;
    },
    async text(path) {
      const { status, text } = await fetchText('GET', path);
      return status < 400 ? text : undefined;
    },
    watch<T>(path: string, listener: (event: WatchEvent<T>) => void, ended: (error: Error) => void): Promise<void> {
      const url = `${cluster.server}${path}${path.includes('?') ? '&' : '?'}watch=1`;
      return new Promise((resolve, reject) => {
        const sent = request(url, options('GET'), (response) => {
          if (response.statusCode !== 200) return reject(new Error(`${path}: ${response.statusCode}`));
          resolve();
          const over = (error?: Error) => ended(error ?? new Error(`${path}: the server ended the watch`));
          let held = '';
          response.setEncoding('utf8').on('data', (chunk: string) => {
            const lines = (held + chunk).split('\n');
            held = lines.pop() ?? '';
            for (const line of lines) if (line) listener(JSON.parse(line) as WatchEvent<T>);
          });
          response.on('end', over).on('error', over);
        });
        sent.on('error', reject).end();
      });
    },
    close: () => agent.destroy(),
  };
}

function messageOf(text: string): string {
  try {
    return (JSON.parse(text) as { message?: string }).message ?? text;
  } catch {
    return text.slice(0, 300);
  }
}
