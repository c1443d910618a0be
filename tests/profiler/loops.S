@ Loops whose cycles test_counter.py counts by hand, run as layers 0, 1, 2, ... of a model without a model.
    .syntax unified
    .cpu cortex-m4
    .fpu fpv4-sp-d16
    .thumb

    .section .vectors, "a"
    .word 0x20001000
    .word Reset_Handler

    .text
    .macro function name
    .global \name
    .type \name, %function
    .thumb_func
    .balign 4
\name:
    .endm

    .macro layer kernel
    bl rnnc_marker_layer
    bl \kernel
    .endm

    function Reset_Handler
    bl rnnc_marker_begin
    bl jobs
    bl rnnc_marker_end
    bl alternating              @ not between the markers: not counted
    movs r0, #4                 @ SYS_WRITE0
    adr r1, message
    bkpt 0xab
    movs r0, #0x18              @ SYS_EXIT
    ldr r1, =0x20026            @ ADP_Stopped_ApplicationExit
    bkpt 0xab

    function jobs
    push {r4, lr}
    layer count_down
    layer alternating
    layer copy
    layer count_down
    layer unaligned
    layer across_pages
    layer on_the_edge
    pop {r4, pc}

    function rnnc_marker_begin
    bx lr
    function rnnc_marker_end
    bx lr
    function rnnc_marker_layer
    bx lr
    function rnnc_trace_row
    bx lr

    function count_down
    movs r0, #10
1:  subs r0, r0, #1
    bne 1b
    bx lr

    function alternating
    movs r0, #8
1:  tst r0, #1
    beq 2f
    nop
    nop
2:  subs r0, r0, #1
    bne 1b
    bx lr

    function copy
    adr r0, message
    mov r1, #0x20000000
    movs r2, #5
1:  ldr r3, [r0], #4
    ldr ip, [r0], #4
    str r3, [r1], #4
    str ip, [r1], #4
    subs r2, r2, #1
    bne 1b
    bx lr

    function unaligned
    mov r1, #0x20000000
    ldr r0, [r1, #1]
    ldr r0, [r1, #2]
    ldrh r0, [r1, #3]
    ldrh r0, [r1, #2]
    str r0, [r1, #5]
    bx lr

    .balign 4
message:
    .asciz "rnnc: self-test cycles 0 checksum 0x00000000\n"
    .ltorg

    .balign 1024
    .space 1016
    function across_pages
    mov r1, #0x20000000         @ 4 bytes
    ldr r2, [r1]                @ 2 bytes
    ldr r3, [r1, #4]            @ 2 bytes: the last of its page
    ldr r2, [r1, #8]
    ldr r3, [r1, #12]
    bx lr

    .balign 1024
    .space 1016
    function on_the_edge
    mov.w r1, #1
    nop
    mov.w r1, #2                @ half of it in each page
    bx lr
