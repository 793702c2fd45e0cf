export type { EvictionSignal, PriorityGrace, Reservation, Threshold, Thresholds } from './node-kinds.ts';
export { type KubeletSettingsInput, loadKubeletSettings } from './settings.ts';
export type { KubeletSettings } from './table.ts';
