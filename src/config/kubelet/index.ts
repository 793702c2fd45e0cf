export type { EvictionSignal, Reservation, Threshold, Thresholds } from './kinds.ts';
export type { PriorityGrace } from './kinds-more.ts';
export { type KubeletSettingsInput, loadKubeletSettings } from './settings.ts';
export type { KubeletSettings } from './table.ts';
