export { openLog } from './open.ts';
export { logPieces } from './pieces.ts';
export { removeLog } from './rotate.ts';
export { type LogRotationPolicy, LogRotator, type RunningLog } from './rotator.ts';
