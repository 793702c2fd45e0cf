import { stringify } from 'yaml';

const base64 = (text: string) => Buffer.from(text).toString('base64');

/** A kubeconfig with everything inside, in the shape k3s writes. PEM texts. */
export function kubeconfig(options: { server: string; ca: string; cert: string; key: string }): string {
  return stringify(
    {
      apiVersion: 'v1',
      clusters: [
        { cluster: { 'certificate-authority-data': base64(options.ca), server: options.server }, name: 'default' },
      ],
      contexts: [{ context: { cluster: 'default', user: 'default' }, name: 'default' }],
      'current-context': 'default',
      kind: 'Config',
      users: [
        {
          name: 'default',
          user: { 'client-certificate-data': base64(options.cert), 'client-key-data': base64(options.key) },
        },
      ],
    },
    { lineWidth: 0 },
  );
}
