# SPDX-License-Identifier: Apache-2.0
# Where everything but the programs is installed, and the Debian packages made of it.

set(units ${CMAKE_SOURCE_DIR}/units)
set(CMAKE_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE
	GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

# The units name their programs below /usr, which is the prefix of the release preset.
install(FILES
	${units}/emberlock-keeper.service
	${units}/emberlock-softdog.service
	${units}/emberlock-agent.service
	${units}/emberlock-watchdog.service
	${units}/emberlock-admitted.service
	${units}/emberlock-ending@.service
	${units}/emberlock-admitted.target
	${units}/emberlock-failed.target
	DESTINATION lib/systemd/system COMPONENT agent)
# A halt is a power-off here: RAM that stays on is no end.
foreach(target poweroff halt reboot kexec)
	string(REPLACE halt poweroff verb ${target})
	set(link ${CMAKE_BINARY_DIR}/wants/${target}/emberlock-ending@${verb}.service)
	file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/wants/${target})
	file(CREATE_LINK ../emberlock-ending@.service ${link} SYMBOLIC)
	install(FILES ${link} DESTINATION lib/systemd/system/${target}.target.wants COMPONENT agent)
endforeach()
install(FILES ${units}/emberlock-manager.service
	DESTINATION lib/systemd/system COMPONENT manager)
foreach(component agent manager)
	install(FILES ${units}/emberlock-${component}.preset COMPONENT ${component}
		DESTINATION lib/systemd/system-preset RENAME 80-emberlock-${component}.preset)
	install(FILES ${units}/emberlock-${component}.sysusers COMPONENT ${component}
		DESTINATION lib/sysusers.d RENAME emberlock-${component}.conf)
endforeach()
install(FILES ${units}/emberlock.modules COMPONENT agent
	DESTINATION lib/modules-load.d RENAME emberlock.conf)
install(FILES ${units}/emberlock.rules COMPONENT agent
	DESTINATION lib/udev/rules.d RENAME 58-emberlock.rules)
install(FILES ${units}/emberlock-early.rules COMPONENT agent
	DESTINATION lib/udev/rules.d RENAME 54-emberlock.rules)
install(PROGRAMS ${units}/emberlock.shutdown COMPONENT agent
	DESTINATION lib/systemd/system-shutdown)
# Directories and names are initramfs-tools(7)'s.
set(initramfs ${CMAKE_SOURCE_DIR}/initramfs/initramfs-tools)
install(PROGRAMS ${initramfs}/hook COMPONENT agent
	DESTINATION share/initramfs-tools/hooks RENAME emberlock)
install(PROGRAMS ${initramfs}/local-bottom COMPONENT agent
	DESTINATION share/initramfs-tools/scripts/local-bottom RENAME emberlock)
# Its directories are dracut.modules(7)'s: the module is named emberlock.
set(dracut ${CMAKE_SOURCE_DIR}/initramfs/dracut)
install(PROGRAMS ${dracut}/module-setup.sh ${dracut}/overlay COMPONENT agent
	DESTINATION lib/dracut/modules.d/90emberlock)
install(FILES ${dracut}/emberlock-overlay.service COMPONENT agent
	DESTINATION lib/dracut/modules.d/90emberlock)
# emberlock-busybox(7): for a VM without systemd.
foreach(name start run volumes udhcpc)
	install(PROGRAMS ${units}/busybox/${name} COMPONENT agent DESTINATION lib/emberlock/busybox)
endforeach()
install(FILES ${units}/busybox/inittab ${units}/busybox/pgdata.conf ${units}/busybox/swap.conf
	COMPONENT agent DESTINATION lib/emberlock/busybox)
install(FILES ${CMAKE_SOURCE_DIR}/vm-images/kernel.config COMPONENT agent DESTINATION share/emberlock)
install(FILES ${units}/completions/emberlockctl COMPONENT agent
	DESTINATION share/bash-completion/completions)

install(FILES ${units}/etc/agent.conf ${units}/etc/keeper.conf COMPONENT agent
	DESTINATION ${CMAKE_INSTALL_FULL_SYSCONFDIR}/emberlock)
install(DIRECTORY DESTINATION ${CMAKE_INSTALL_FULL_SYSCONFDIR}/emberlock/volumes.d COMPONENT agent)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/man/openapi DESTINATION share/doc/emberlock-manager COMPONENT manager)
install(FILES ${units}/etc/needrestart.conf COMPONENT agent
	DESTINATION ${CMAKE_INSTALL_FULL_SYSCONFDIR}/needrestart/conf.d RENAME emberlock.conf)
install(FILES ${units}/etc/emberlock-manager.default COMPONENT manager
	DESTINATION ${CMAKE_INSTALL_FULL_SYSCONFDIR}/default RENAME emberlock-manager)

# Debian wants pages and change log compressed, without a time in them (gzip -n).
configure_file(${units}/debian/changelog.in ${CMAKE_BINARY_DIR}/doc/changelog @ONLY)
file(GLOB pages CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/man/*.[1-8])
foreach(page ${pages} ${CMAKE_BINARY_DIR}/doc/changelog)
	get_filename_component(name ${page} NAME)
	set(compressed ${CMAKE_BINARY_DIR}/doc/${name}.gz)
	add_custom_command(OUTPUT ${compressed} DEPENDS ${page} VERBATIM
		COMMAND gzip -9nc ${page} > ${compressed})
	list(APPEND compressed_pages ${compressed})
	if(name STREQUAL "changelog")
		continue()
	endif()
	string(REGEX REPLACE ".*\\." "" section ${name})
	set(component agent)
	if(name MATCHES "^emberlock-(manager|admin|audit|operations|kms)")
		set(component manager)
	elseif(name MATCHES "^emberlock-storage")
		set(component storage)
	endif()
	install(FILES ${compressed} COMPONENT ${component} DESTINATION share/man/man${section})
endforeach()
add_custom_target(documents ALL DEPENDS ${compressed_pages})
foreach(component agent manager storage)
	install(FILES ${units}/debian/copyright ${CMAKE_BINARY_DIR}/doc/changelog.gz
		COMPONENT ${component} DESTINATION share/doc/emberlock-${component})
endforeach()

# cmake --build --preset release --target package: the packages in build/packages.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_DIRECTORY ${CMAKE_BINARY_DIR}/../packages CACHE PATH "Where packages are written")
set(CPACK_PACKAGE_NAME emberlock)
set(CPACK_PACKAGE_VENDOR "The Emberlock authors")
set(CPACK_PACKAGE_CONTACT "The Emberlock authors <emberlock@emberlock.example>")
set(CPACK_SET_DESTDIR ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL agent manager storage)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS ${CMAKE_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS})
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

set(CPACK_DEBIAN_AGENT_PACKAGE_NAME emberlock-agent)
set(CPACK_COMPONENT_AGENT_DESCRIPTION
"This package is the VM's side: it maps disks under keys made at each boot and
held in locked memory only, keeps them while the manager renews the VM's lease,
and destroys them and powers the VM off when the customer takes the key back.")
set(CPACK_DEBIAN_AGENT_PACKAGE_DEPENDS "systemd (>= 252), udev (>= 252), dmsetup, kmod")
set(CPACK_DEBIAN_AGENT_PACKAGE_RECOMMENDS "e2fsprogs, xfsprogs")
set(CPACK_DEBIAN_MANAGER_PACKAGE_NAME emberlock-manager)
set(CPACK_COMPONENT_MANAGER_DESCRIPTION
"This package is the manager: it watches the customers' keys, admits VMs, signs
their leases and keeps the receipts of shredded VMs. It holds emberlock-admin,
the command for all of that.")
set(CPACK_DEBIAN_MANAGER_PACKAGE_DEPENDS "systemd (>= 252)")
set(CPACK_DEBIAN_STORAGE_PACKAGE_NAME emberlock-storage)
set(CPACK_DEBIAN_STORAGE_PACKAGE_SECTION libdevel)
set(CPACK_COMPONENT_STORAGE_DESCRIPTION
"This package is the library for storage nodes: data-encryption keys from the
manager, in locked memory for as long as it allows and no longer.")
set(CPACK_DEBIAN_STORAGE_PACKAGE_DEPENDS "libcurl4-openssl-dev | libcurl4-gnutls-dev, libjansson-dev")
file(STRINGS ${CMAKE_SOURCE_DIR}/src/core/frames.h protocol REGEX "^#define KEEPER_PROTOCOL [0-9]+$")
string(REGEX MATCH "[0-9]+$" KEEPER_PROTOCOL ${protocol})
configure_file(${units}/debian/agent-preinst.in ${CMAKE_BINARY_DIR}/debian/preinst @ONLY)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/core/frames.h)
foreach(component agent manager)
	string(TOUPPER ${component} upper)
	file(GLOB CPACK_DEBIAN_${upper}_PACKAGE_CONTROL_EXTRA ${units}/debian/${component}/*)
endforeach()
list(APPEND CPACK_DEBIAN_AGENT_PACKAGE_CONTROL_EXTRA ${CMAKE_BINARY_DIR}/debian/preinst)
include(CPack)
