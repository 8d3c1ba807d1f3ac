export const asyncApi = (release: string): object => ({
  asyncapi: '3.0.0',
  info: { title: 'Starcite', version: release },
})
