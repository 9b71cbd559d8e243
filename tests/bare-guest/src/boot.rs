//! From the entry point to Rust.
//!
//! Xen starts a PVH guest in 32-bit mode without paging, and passes the physical address of its
//! `hvm_start_info` in ebx (`docs/misc/pvh.pandoc`, `xen/include/public/arch-x86/hvm/start_info.h`).
//! The note tells the loader where the entry point is.

use core::arch::global_asm;
use core::ffi::CStr;

global_asm!(
    r#"
    .pushsection .note.Xen, "a", @note
    .balign 4
    .long 4                         // the length of the name
    .long 4                         // the length of the value
    .long 18                        // XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long _start
    .popsection

    .pushsection .bss.boot, "aw", @nobits
    .balign 4096
pml4:        .skip 4096
pdpt:        .skip 4096
directories: .skip 4 * 4096
stack:       .skip 128 * 1024
stack_end:
    .popsection

    .pushsection .rodata.boot, "a"
    .balign 8
gdt:
    .quad 0
    .quad 0x00af9a000000ffff        // 8: 64-bit code
    .quad 0x00cf92000000ffff        // 16: data
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .long gdt
    .popsection

    .pushsection .text.boot, "ax"
    .code32
    .globl _start
_start:
    cld
    mov esp, offset stack_end

    // Maps the first 4 GiB, each address to itself, in pages of 2 MiB. The ring, the console and
    // what the toolstack passes are all there.
    mov dword ptr [pml4], offset pdpt + 3
    mov edi, offset pdpt
    mov eax, offset directories + 3
    mov ecx, 4
2:  mov [edi], eax
    add edi, 8
    add eax, 4096
    loop 2b
    mov edi, offset directories
    mov eax, 0x83
    mov ecx, 4 * 512
3:  mov [edi], eax
    add edi, 8
    add eax, 0x200000
    loop 3b

    // Long mode: CR4.PAE, the page tables, EFER.LME, CR0.PG.
    mov eax, cr4
    or eax, 0x20
    mov cr4, eax
    mov eax, offset pml4
    mov cr3, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x100
    wrmsr
    mov eax, cr0
    or eax, 0x80000000
    mov cr0, eax
    lgdt [gdt_pointer]
    push 8
    mov eax, offset long_mode
    push eax
    retf

    .code64
long_mode:
    mov eax, 16
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov edi, ebx
    call {main}
4:  hlt
    jmp 4b
    .popsection
    "#,
    main = sym start,
);

/// The first members of `struct hvm_start_info`.
#[repr(C)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
}

extern "C" fn start(info: *const StartInfo) -> ! {
    // SAFETY: Xen passes the address, which is mapped, and nothing changes what is there.
    let info = unsafe { &*info };
    assert_eq!(info.magic, 0x336e_c578, "this is no PVH guest");
    let command_line = match info.command_line {
        0 => c"",
        // SAFETY: the address is that of a string that ends with a NUL, and nothing changes it.
        address => unsafe { CStr::from_ptr(address as *const _) },
    };
    crate::main(command_line.to_str().unwrap_or(""))
}
