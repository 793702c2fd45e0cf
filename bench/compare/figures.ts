/** What is compared, in the order of the table. `target`: at most so many times the original's. */
export const FIGURES = {
  join: { title: 'process start to Node Ready, fresh data dir (median of 3)', unit: 'ms', target: 0.5 },
  pod1: { title: '1 pod, POST to Ready, image present (median of 3)', unit: 'ms', target: 0.4 },
  pods10: { title: '10 pods at once, POST to Ready, p50', unit: 'ms', target: 0.45 },
  pods10max: { title: '10 pods at once, POST to Ready, max', unit: 'ms', target: 0.6 },
  pods40: { title: '40 pods at once, POST to Ready, p50', unit: 'ms', target: 0.35 },
  pods40max: { title: '40 pods at once, POST to Ready, max', unit: 'ms', target: 0.55 },
  gone10: { title: '10 pods at once, DELETE to gone, p50', unit: 'ms', target: 0.4 },
  gone40: { title: '40 pods at once, DELETE to gone, p50', unit: 'ms', target: 0.4 },
  rss: { title: 'agent + containerd, 1 pod: RSS', unit: 'MiB', target: 0.4 },
  pss: { title: 'agent + containerd, 1 pod: PSS', unit: 'MiB', target: 0.65 },
  anonymous: { title: 'agent + containerd, 1 pod: anonymous', unit: 'MiB', target: undefined },
  rssAfter: { title: 'agent + containerd, after 40 pods came and went: RSS', unit: 'MiB', target: undefined },
  pssAfter: { title: 'agent + containerd, after 40 pods came and went: PSS', unit: 'MiB', target: undefined },
  peak: { title: 'agent + containerd: peak RSS', unit: 'MiB', target: undefined },
  cpu: { title: 'agent + containerd, 1 pod, idle: processor', unit: '% of a core', target: 0.3 },
  wire: { title: '1 pod, idle: on the wire, both directions', unit: 'kB/min', target: 0.5 },
  written: { title: '1 pod, idle: written to disk', unit: 'kB/min', target: undefined },
} as const;

export type FigureName = keyof typeof FIGURES;
